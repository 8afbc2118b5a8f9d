-- How late a carrier was in the hours before.
WITH visible AS (
    SELECT carrier, is_late, date_trunc('hour', landed_at) + INTERVAL 1 HOUR AS hour
    FROM arrivals
)
SELECT carrier, hour, avg(is_late::INT) AS late_rate, count(*) AS landed
FROM visible
WHERE hour >= $start AND hour < $end
GROUP BY carrier, hour
