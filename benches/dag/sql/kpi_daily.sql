-- One row a day: visits, clients, orders, revenue.
select
  date_trunc('day', occurred_at) as window_start,
  count(*) as n_events,
  count(distinct session_id) as n_sessions,
  count(distinct client_id) as n_clients,
  count(distinct case when kind = 'purchase' then session_id end) as n_buying_sessions,
  count(*) filter (where kind = 'detail') as n_details,
  count(*) filter (where kind = 'add') as n_adds,
  count(*) filter (where kind = 'search') as n_searches,
  cast(sum(case when kind = 'purchase' then quantity end) as bigint) as n_units,
  sum(case when kind = 'purchase' then cast(price * quantity as decimal(18, 2)) end) as revenue
from sessionized
group by date_trunc('day', occurred_at)
