-- One row an hour: visits, clients, orders, revenue. What is different in a window has a group of its own first,
-- which spills: a set of all the sessions of a window would have to fit in memory. A session is of one client.
with visits as (
  select
    date_trunc('hour', occurred_at) as window_start,
    client_id,
    session_id,
    count(*) as n_events,
    max(case when kind = 'purchase' then 1 else 0 end) as n_buying,
    count(*) filter (where kind = 'detail') as n_details,
    count(*) filter (where kind = 'add') as n_adds,
    count(*) filter (where kind = 'search') as n_searches,
    sum(case when kind = 'purchase' then quantity end) as n_units,
    sum(case when kind = 'purchase' then cast(price * quantity as decimal(18, 2)) end) as revenue
  from sessionized
  group by date_trunc('hour', occurred_at), client_id, session_id
),
clients as (
  select
    window_start,
    count(*) as n_sessions,
    sum(n_events) as n_events,
    sum(n_buying) as n_buying_sessions,
    sum(n_details) as n_details,
    sum(n_adds) as n_adds,
    sum(n_searches) as n_searches,
    sum(n_units) as n_units,
    sum(revenue) as revenue
  from visits
  group by window_start, client_id
)
select
  window_start,
  cast(sum(n_events) as bigint) as n_events,
  cast(sum(n_sessions) as bigint) as n_sessions,
  count(*) as n_clients,
  cast(sum(n_buying_sessions) as bigint) as n_buying_sessions,
  cast(sum(n_details) as bigint) as n_details,
  cast(sum(n_adds) as bigint) as n_adds,
  cast(sum(n_searches) as bigint) as n_searches,
  cast(sum(n_units) as bigint) as n_units,
  sum(revenue) as revenue
from clients
group by window_start
