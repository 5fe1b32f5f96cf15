-- One row a visit: when, how long, how much.
select
  session_id,
  min(client_id) as client_id,
  min(occurred_at) as started_at,
  max(occurred_at) as ended_at,
  count(*) as n_events,
  count(distinct item_id) as n_items,
  count(*) filter (where kind = 'detail') as n_details,
  count(*) filter (where kind = 'add') as n_adds,
  count(*) filter (where kind = 'purchase') as n_purchases,
  count(*) filter (where kind = 'search') as n_searches,
  sum(case when kind = 'purchase' then cast(price * quantity as decimal(18, 2)) end) as revenue
from sessionized
group by session_id
