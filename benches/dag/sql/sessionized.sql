-- Each event with its visit: what a client does with pauses of half an hour at most.
with starts as (
  select *,
    case
      when lag(occurred_at) over (partition by client_id order by occurred_at, event_id)
        + interval '30 minutes' >= occurred_at then 0
      else 1
    end as is_start
  from events
),
numbered as (
  select *,
    sum(is_start) over (
      partition by client_id order by occurred_at, event_id
      rows between unbounded preceding and current row
    ) as session_number
  from starts
)
select
  client_id || ':' || cast(session_number as varchar) as session_id,
  event_id, client_id, kind, occurred_at, item_id, query, price, currency, quantity, received_at
from numbered
