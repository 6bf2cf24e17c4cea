-- What `results.history` asks DuckDB. Parameters: $1 the file, $2 its directory.

-- name: tables
CREATE TABLE runs (
  started TIMESTAMP, kind VARCHAR, directory VARCHAR, scenario VARCHAR, point VARCHAR, ordering VARCHAR, safe BOOLEAN,
  verdict VARCHAR, vcpus BIGINT, zappers BIGINT, rounds BIGINT, shootdowns BIGINT, forbidden BIGINT, p50_ns DOUBLE,
  p50_low_ns DOUBLE, p50_high_ns DOUBLE, p90_ns DOUBLE, p90_low_ns DOUBLE, p90_high_ns DOUBLE, p99_ns DOUBLE,
  p99_low_ns DOUBLE, p99_high_ns DOUBLE, max_ns DOUBLE, shootdowns_per_s DOUBLE, reads_per_s DOUBLE,
  out_of_guest_p50_ns DOUBLE, stale_window_p50_ns DOUBLE, track_retries DOUBLE, perturbed BOOLEAN, changed VARCHAR, host VARCHAR,
  machine VARCHAR, version VARCHAR, "commit" VARCHAR, seed BIGINT, place BIGINT
);
CREATE TABLE rounds (
  started TIMESTAMP, directory VARCHAR, scenario VARCHAR, machine VARCHAR, round BIGINT, point VARCHAR, arm VARCHAR,
  ordering VARCHAR, verdict VARCHAR, shootdowns BIGINT, forbidden BIGINT, p50_ns DOUBLE, p90_ns DOUBLE, p99_ns DOUBLE,
  max_ns DOUBLE, shootdowns_per_s DOUBLE, reads_per_s DOUBLE, out_of_guest_p50_ns DOUBLE, out_of_guest_share DOUBLE,
  stale_window_p50_ns DOUBLE, track_retries DOUBLE
);

-- name: rounds
INSERT INTO rounds BY NAME
WITH file AS (
  SELECT * FROM read_json($1, format = 'unstructured', maximum_object_size = 67108864, columns = {
    started: 'TIMESTAMP', scenario: 'STRUCT("name" VARCHAR)',
    rounds: 'STRUCT(round BIGINT, machine VARCHAR, point VARCHAR, arm VARCHAR, ordering VARCHAR, verdict VARCHAR,
      all_shootdowns BIGINT, forbidden_shootdowns BIGINT, figures STRUCT(
        p50_ns DOUBLE, p90_ns DOUBLE, p99_ns DOUBLE, max_ns DOUBLE, shootdowns_per_s DOUBLE,
        reads_per_s DOUBLE, out_of_guest_p50_ns DOUBLE, out_of_guest_share DOUBLE,
        stale_window_p50_ns DOUBLE, track_retries DOUBLE))[]'})
), one AS (
  SELECT *, unnest(rounds) AS race FROM file
)
SELECT
  started, $2 AS directory, scenario."name" AS scenario, coalesce(race.machine, '') AS machine,
  race.round AS round, race.point AS point, race.arm AS arm,
  race.ordering AS ordering, race.verdict AS verdict, race.all_shootdowns AS shootdowns,
  race.forbidden_shootdowns AS forbidden, unnest(race.figures)
FROM one;

-- name: arms
INSERT INTO runs BY NAME
WITH file AS (
  SELECT * FROM read_json($1, format = 'unstructured', maximum_object_size = 67108864, columns = {
    version: 'VARCHAR', "commit": 'VARCHAR', seed: 'BIGINT', sweep: 'STRUCT("key" VARCHAR, points VARCHAR[])',
    host: 'STRUCT(id VARCHAR, cpu_model VARCHAR, cpus_allowed BIGINT, hypervisor VARCHAR)',
    scenario: 'STRUCT("name" VARCHAR, vcpus BIGINT, zappers BIGINT)',
    arms: 'STRUCT(arm VARCHAR, ordering VARCHAR, expect JSON, perturbed BOOLEAN)[]'})
), arm AS (
  SELECT * EXCLUDE (arms), unnest(arms) AS a, generate_subscripts(arms, 1) AS place FROM file
), figures AS (
  SELECT
    any_value(started) AS started, directory, machine, point, arm, count(*) AS rounds,
    sum(shootdowns)::BIGINT AS shootdowns, sum(forbidden)::BIGINT AS forbidden,
    median(p50_ns) AS p50_ns, median(p90_ns) AS p90_ns, median(p99_ns) AS p99_ns, median(max_ns) AS max_ns,
    median(shootdowns_per_s) AS shootdowns_per_s, median(reads_per_s) AS reads_per_s,
    median(out_of_guest_p50_ns) AS out_of_guest_p50_ns, median(stale_window_p50_ns) AS stale_window_p50_ns,
    median(track_retries) AS track_retries
  FROM rounds WHERE directory = $2 GROUP BY directory, machine, point, arm
)
SELECT
  figures.* EXCLUDE (arm, machine), 'bench' AS kind, scenario."name" AS scenario,
  a.ordering AS ordering,
  a.expect::VARCHAR = '"safe"' AS safe, a.perturbed AS perturbed,
  CASE WHEN sweep."key" = 'vcpus' THEN try_cast(split_part(point, '=', 2) AS BIGINT) ELSE scenario.vcpus END AS vcpus,
  CASE WHEN sweep."key" = 'zappers' THEN try_cast(split_part(point, '=', 2) AS BIGINT) ELSE scenario.zappers END
    AS zappers,
  concat_ws(', ', host.cpu_model, host.cpus_allowed || ' CPUs', host.hypervisor) AS host,
  coalesce(nullif(figures.machine, ''), host.id) AS machine, version, "commit", seed,
  100000 * place + coalesce(list_position(sweep.points, point), 0) AS place
-- The first ordering's second copy is there to doubt the bench, not to be listed.
FROM arm JOIN figures ON figures.arm = a.arm WHERE a.arm <> 'A2';
