# Run once, by the image's entrypoint, on the empty primary: the roles and the database of Stint.
# `stint` owns its database and nothing else. Secrets come from files and go over the local socket.
secret() { cat "/run/secrets/$1"; }
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet -U postgres -d postgres \
  -v stint="$(secret database_password)" -v replicator="$(secret replication_password)" \
  -v metrics="$(secret metrics_password)" <<'SQL'
CREATE ROLE stint LOGIN PASSWORD :'stint';
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator';
CREATE ROLE metrics LOGIN PASSWORD :'metrics' CONNECTION LIMIT 5 IN ROLE pg_monitor;
-- With it a replica of an old primary is known at once, and not only by its lag.
GRANT pg_read_all_stats TO stint;
CREATE DATABASE stint OWNER stint;
REVOKE CONNECT ON DATABASE stint FROM PUBLIC;
GRANT CONNECT ON DATABASE stint TO metrics;
SQL
# Last of all: from now on an empty volume is a loss, and not a beginning.
pg_controldata -D "$PGDATA" | sed -n 's/^Database system identifier: *//p' >/var/lib/stint-identity/system
