-- Each event once, as it was received first.
select event_id, client_id, kind, occurred_at, item_id, query, price, currency, quantity, received_at
from flattened
qualify row_number() over (partition by event_id order by received_at) = 1
