-- What the shop's page sent, as columns.
select
  payload ->> 'id' as event_id,
  payload ->> 'client' as client_id,
  payload ->> 't' as kind,
  to_timestamp_micros(cast(payload ->> 'ts' as bigint)) as occurred_at,
  payload ->> 'sku' as item_id,
  payload ->> 'q' as query,
  cast(payload ->> 'price' as double) as price,
  payload ->> 'currency' as currency,
  cast(payload ->> 'n' as bigint) as quantity,
  received_at
from raw
