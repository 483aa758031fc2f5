#include "replica/message.h"

#include <string.h>

#include "base/error.h"
#include "replica/path.h"
#include "replica/xattrs.h"
#include "wire/message.h"

#define ERRNO_MAX 4095 /* the kernel's MAX_ERRNO */

ProtobufCBinaryData
replica_path_to_message(const char *path)
{
  return wire_borrow(path, path ? strlen(path) : 0);
}

GBytes *
replica_message_pack(const ProtobufCMessage *message)
{
  gsize size = protobuf_c_message_get_packed_size(message);
  guint8 *packed = g_malloc(MAX(size, 1));
  protobuf_c_message_pack(message, packed);
  return g_bytes_new_take(packed, size);
}

void
replica_facts_to_message(const ReplicaFacts *facts, Doppel__Wire__ReplicaFacts *message)
{
  doppel__wire__replica_facts__init(message);
  message->type = facts->type;
  message->mode = facts->mode;
  message->uid = facts->uid;
  message->gid = facts->gid;
  message->size = facts->size;
  message->mtime_ns = facts->mtime_ns;
  message->rdev = facts->rdev;
  message->nlink = facts->nlink;
  message->pseudo = facts->pseudo;
  message->target = replica_path_to_message(facts->target);
  if (facts->xattrs) {
    gsize length;
    const guint8 *data = g_bytes_get_data(facts->xattrs, &length);
    message->xattrs = wire_borrow(data, length);
  }
  if (facts->hashed)
    message->hash = wire_borrow(facts->hash, sizeof facts->hash);
}

void
replica_facts_own_to_message(const ReplicaFacts *facts, Doppel__Wire__ReplicaFacts *message)
{
  replica_facts_to_message(facts, message);
  message->dev = facts->dev;
  message->ino = facts->ino;
  message->ctime_lag_ns = (gint64)((guint64)facts->ctime_ns - (guint64)facts->mtime_ns);
  message->blocks = facts->blocks;
  message->directory_size = facts->directory_size;
}

static gboolean
refuse(GError **error, const char *what)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the other side sent facts of a file with an impossible %s", what);
}

static gboolean
take_target(const Doppel__Wire__ReplicaFacts *message, ReplicaFacts *facts, GError **error)
{
  const ProtobufCBinaryData *target = &message->target;
  if (facts->type != REPLICA_SYMLINK)
    return target->len == 0 || refuse(error, "link target");
  if (target->len == 0 || target->len >= REPLICA_PATH_MAX || memchr(target->data, '\0', target->len))
    return refuse(error, "link target");
  facts->target = g_strndup((const char *)target->data, target->len);
  return TRUE;
}

static gboolean
take_bytes(const Doppel__Wire__ReplicaFacts *message, gboolean all, ReplicaFacts *facts, GError **error)
{
  gboolean valid;
  facts->xattrs = replica_xattrs_parse(message->xattrs.data, message->xattrs.len, all, &valid);
  if (!valid || (facts->xattrs && facts->type == REPLICA_SYMLINK && !all))
    return refuse(error, "set of extended attributes");
  if (message->hash.len != 0 && (message->hash.len != REPLICA_HASH_SIZE || facts->type != REPLICA_FILE))
    return refuse(error, "hash");
  if (message->hash.len) {
    memcpy(facts->hash, message->hash.data, REPLICA_HASH_SIZE);
    facts->hashed = TRUE;
  }
  return take_target(message, facts, error);
}

static gboolean
take_facts(const Doppel__Wire__ReplicaFacts *message, gboolean all, ReplicaFacts *facts, GError **error)
{
  *facts = (ReplicaFacts){0};
  if (!message)
    return TRUE;
  if (message->type > REPLICA_BLOCK_DEVICE)
    return refuse(error, "type");
  if (message->mode > 07777)
    return refuse(error, "mode");
  if (message->size > G_MAXINT64 || (message->size && message->type != REPLICA_FILE))
    return refuse(error, "size");
  facts->type = message->type;
  facts->mode = message->mode;
  facts->uid = message->uid;
  facts->gid = message->gid;
  facts->size = message->size;
  facts->mtime_ns = message->mtime_ns;
  facts->rdev = message->rdev;
  facts->nlink = message->nlink;
  facts->pseudo = message->pseudo;
  if (take_bytes(message, all, facts, error))
    return TRUE;
  replica_facts_clear(facts);
  return FALSE;
}

gboolean
replica_facts_from_message(const Doppel__Wire__ReplicaFacts *message, ReplicaFacts *facts, GError **error)
{
  return take_facts(message, FALSE, facts, error);
}

gboolean
replica_facts_all_from_message(const Doppel__Wire__ReplicaFacts *message, ReplicaFacts *facts, GError **error)
{
  return take_facts(message, TRUE, facts, error);
}

gboolean
replica_facts_own_from_message(const Doppel__Wire__ReplicaFacts *message, ReplicaFacts *facts, GError **error)
{
  if (!replica_facts_from_message(message, facts, error))
    return FALSE;
  if (message && facts->type != REPLICA_ABSENT) {
    facts->dev = message->dev;
    facts->ino = message->ino;
    facts->ctime_ns = (gint64)((guint64)message->mtime_ns + (guint64)message->ctime_lag_ns);
    facts->blocks = message->blocks;
    facts->directory_size = message->directory_size;
  }
  return TRUE;
}

GBytes *
replica_facts_pack(const ReplicaFacts *facts, int failure)
{
  Doppel__Wire__ReplicaFacts message;
  if (failure) {
    doppel__wire__replica_facts__init(&message);
    message.error = failure;
  } else {
    replica_facts_own_to_message(facts, &message);
  }
  return replica_message_pack(&message.base);
}

gboolean
replica_facts_unpack(const guint8 *data, gsize length, ReplicaFacts *facts, int *failure, GError **error)
{
  *facts = (ReplicaFacts){0};
  Doppel__Wire__ReplicaFacts *message =
      length <= REPLICA_MESSAGE_MAX ? doppel__wire__replica_facts__unpack(NULL, length, data) : NULL;
  if (!message)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the other side sent facts of a file that are not a message");
  gboolean good = message->error <= ERRNO_MAX || refuse(error, "error number");
  *failure = good ? message->error : 0;
  good = good && (*failure || replica_facts_own_from_message(message, facts, error));
  doppel__wire__replica_facts__free_unpacked(message, NULL);
  return good;
}

char *
replica_path_from_message(const ProtobufCBinaryData *data, gboolean root_too, GError **error)
{
  if (data->len == 0 && root_too)
    return g_strdup("");
  if (replica_path_valid((const char *)data->data, data->len))
    return g_strndup((const char *)data->data, data->len);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                   "the other side named a path that does not stay below the root");
  return NULL;
}
