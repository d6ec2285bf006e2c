// Package postgres runs a real Postgres as a supervised child process, from
// npm's or Debian's binaries.
//
// Enters: a directory with initdb and postgres, and a data directory. Leaves:
// a server on a unix socket only, with the roles of schemas/postgres, a
// database "metiva", and a URL for each role.
//
// The cluster lives in <data>/postgres: data (the cluster itself), run (the
// socket), credentials.json (passwords made at random, readable by us only).
// It is built beside its place and renamed, so a killed first start leaves
// nothing half made. A server left over by a killed run is stopped before the
// start; a stale postmaster.pid is removed.
//
// Postgres refuses to run as root, so as root it runs as user postgres, else
// nobody. When that user cannot reach the binaries they are copied to
// /var/lib/metiva/engines; when it cannot reach the data directory the cluster
// is placed under /var/lib/metiva/postgres-<hash of the data directory> and
// <data>/postgres is a symbolic link to it. A cluster there whose link is gone
// belonged to a data directory somebody deleted: it is wiped and made anew.
//
// Limits: Linux; a socket path of at most 107 bytes without a comma (another one
// moves to the system's temporary directory); a cluster belongs to the user who
// made it; the cluster is a development default, sized
// for one machine.
package postgres
