/* How a directory lies in etcd: keys below a prefix, made so that their order as bytes is the order in which
 * they are read, and the values, of which every byte is checked.
 *
 *   PREFIX/state                    number, chain
 *   PREFIX/user/ORIGIN              DirectoryRow and name
 *   PREFIX/home/HOME ORIGIN         the record's hash
 *   PREFIX/name/NAME NUL HOME ORIGIN   nothing
 *   PREFIX/log/NUMBER               hash, chain, origin
 *   PREFIX/writer/ID                number of the last commit of one cloneds, and when it was
 *   PREFIX/turn                     the ID of a writer that nobody is to forestall now
 *
 * Keys (ORIGIN, HOME) are 32 bytes, NUMBER 8 bytes, big-endian. */
#pragma once

#include "c2c/directory_store.h"

#define ETCD_WRITER_ID_LENGTH 16

typedef struct {
  guint64 number;
  guint8 hash[RECORD_HASH_LENGTH], chain[DIRECTORY_CHAIN_LENGTH];
  IdentityPublic origin;
} EtcdLogValue;

typedef struct {
  DirectoryRow *row;
  char *name;
} EtcdUserValue;

typedef struct {
  guint64 commit;
  gint64 time; /* seconds since 1970 */
} EtcdWriterValue;

GBytes *etcd_key_state(const char *prefix);
GBytes *etcd_key_turn(const char *prefix);
GBytes *etcd_key_user(const char *prefix, const IdentityPublic *origin); /* NULL: what all begin with */
GBytes *etcd_key_home(const char *prefix, const IdentityPublic *home, const IdentityPublic *origin);
/* What all keys of one home begin with whose origins begin with that byte; and what comes after them. */
GBytes *etcd_key_bucket(const char *prefix, const IdentityPublic *home, guint8 bucket);
GBytes *etcd_key_bucket_end(const char *prefix, const IdentityPublic *home, guint8 bucket);
GBytes *etcd_key_name(const char *prefix, const char *name, const IdentityPublic *home,
                      const IdentityPublic *origin);
GBytes *etcd_key_log(const char *prefix, guint64 number);
GBytes *etcd_key_writer(const char *prefix, const guint8 id[ETCD_WRITER_ID_LENGTH]);

/* The first key after all that begin with `key`; the first after `key` alone. */
GBytes *etcd_key_end(GBytes *key);
GBytes *etcd_key_after(GBytes *key);

/* The origin that a key ends with, where it begins with `start`, and nothing is between. */
gboolean etcd_key_origin(GBytes *key, GBytes *start, IdentityPublic *origin);

GBytes *etcd_value_state(const DirectoryState *state);
GBytes *etcd_value_user(const DirectoryPut *put);
GBytes *etcd_value_log(const DirectoryPut *put);
GBytes *etcd_value_writer(const EtcdWriterValue *value);

/* FALSE for what no cloneds has written. */
gboolean etcd_value_read_state(GBytes *value, DirectoryState *state);
gboolean etcd_value_read_log(GBytes *value, EtcdLogValue *log); /* without the number */
gboolean etcd_value_read_writer(GBytes *value, EtcdWriterValue *writer);
gboolean etcd_value_read_user(GBytes *value, const IdentityPublic *origin, EtcdUserValue *user);
void etcd_user_value_clear(EtcdUserValue *user);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EtcdUserValue, etcd_user_value_clear)
