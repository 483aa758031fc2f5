#include "replicator/sync_path.h"

#include "base/error.h"
#include "replica/generation.h"
#include "replica/path.h"

char *
sync_path_take(const ProtobufCBinaryData *bytes, GError **error)
{
  if (bytes->len == 0)
    return g_strdup("");
  if (replica_path_valid_within((const char *)bytes->data, bytes->len, GENERATION_PATH_MAX))
    return g_strndup((const char *)bytes->data, bytes->len);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the other side sent bytes that are no path");
  return NULL;
}
