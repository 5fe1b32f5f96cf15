-- One row a visit: its items in the order in which they were met.
select
  session_id,
  min(occurred_at) as started_at,
  array_agg(item_id order by occurred_at, event_id) as item_ids,
  array_agg(kind order by occurred_at, event_id) as kinds
from sessionized
where item_id is not null
group by session_id
