/* "shares", for the owner's devices, and the process that keeps the index as new as the clone. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/service_message.h"
#include "c2c/services.h"
#include "c2c/share_index.h"
#include "c2c/share_message.h"
#include "replica/generation_head.h"

#define LOOK_US (2 * G_USEC_PER_SEC)

static gboolean
send_row(int fd, const Share *share, GError **error)
{
  Doppel__Share__Row row = DOPPEL__SHARE__ROW__INIT;
  row.name = share->name;
  row.path = (ProtobufCBinaryData){strlen(share->path), (guint8 *)share->path};
  row.files = share->files;
  row.bytes = share->bytes;
  row.generation = share->generation;
  row.hidden = share->hidden;
  row.exclude = share->exclude;
  row.n_exclude = g_strv_length(share->exclude);
  row.indexed_ns = share->indexed_us * 1000;
  row.missing = share->missing;
  return share_message_put(fd, DOPPEL__SHARE__MESSAGE__WHAT_ROW, &row, error);
}

static gboolean
list(int fd, ShareIndex *index, GError **error)
{
  g_autoptr(GPtrArray) shares = share_index_list(index, error);
  for (guint i = 0; shares && i < shares->len; i++)
    if (!send_row(fd, shares->pdata[i], error))
      return FALSE;
  return shares && share_message_end(fd, error);
}

/* What others call it, if the owner has not said: its last component, as far as that may be a name. */
static char *
usual_name(const char *path)
{
  g_autofree char *base = path[0] ? g_path_get_basename(path) : g_strdup("files");
  g_autofree char *valid = g_utf8_make_valid(base, -1);
  const char *name = valid;
  while (*name == '.')
    name++;
  return g_utf8_strlen(name, -1) > 0 && share_name_is_good(name) ? g_strdup(name) : NULL;
}

static gboolean
share(int fd, ShareIndex *index, const Doppel__Share__Share *message, GError **error)
{
  g_autofree char *path = g_strndup((const char *)message->path.data, message->path.len);
  g_autofree char *name = message->name[0] ? g_strdup(message->name) : usual_name(path);
  g_autoptr(GPtrArray) exclude = g_ptr_array_new();
  if (!g_utf8_validate(path, -1, NULL))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "a directory whose name is no UTF-8 cannot be shared");
  if (!name)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%s\" is no name for others: choose one with --name",
                            path);
  for (gsize i = 0; i < message->n_exclude; i++)
    g_ptr_array_add(exclude, message->exclude[i]);
  g_ptr_array_add(exclude, NULL);
  if (!share_index_add(index, name, path, message->hidden, (const char *const *)exclude->pdata, error))
    return FALSE;
  g_autoptr(GPtrArray) shares = share_index_list(index, error);
  for (guint i = 0; shares && i < shares->len; i++) {
    const Share *added = shares->pdata[i];
    if (g_str_equal(added->name, name) && !send_row(fd, added, error))
      return FALSE;
  }
  return shares && share_message_end(fd, error);
}

static gboolean
do_shares(int fd, const ShareMessage *message, void *data, GError **error)
{
  ShareIndex *index = data;
  switch (message->what_case) {
  case DOPPEL__SHARE__MESSAGE__WHAT_SHARE:
    return share(fd, index, message->share, error);
  case DOPPEL__SHARE__MESSAGE__WHAT_UNSHARE:
    return share_index_remove(index, message->unshare->name, error) && share_message_end(fd, error);
  case DOPPEL__SHARE__MESSAGE__WHAT_LIST:
    return list(fd, index, error);
  default:
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "that is no question about what is shared");
  }
}

int
shares_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(ShareIndex) index = share_index_open(place->directory, &error);
  service_message_patience(fd, SERVICE_PATIENCE_S);
  if (index)
    return share_message_serve(fd, service, do_shares, index);
  return share_message_unable(fd, service, error->message, error);
}

/* ---- the indexer ---- */

/* The newest generation of the store, 0 for none. */
static guint64
newest(int store)
{
  g_autoptr(GenerationHead) head = generation_head_read(store, NULL);
  const GenerationRecord *last = head ? generation_head_last(head) : NULL;
  return last ? last->number : 0;
}

int
share_indexer_run(const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(ShareIndex) index = share_index_open(place->directory, &error);
  while (index) {
    /* There may be none yet, and another one after a device was restored. */
    g_auto(Fd) store = open(place->replica, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    guint64 generation = store < 0 ? 0 : newest(store);
    if (generation && share_index_is_behind(index, generation) &&
        !share_index_update(index, store, NULL, &error))
      break;
    g_usleep(LOOK_US);
  }
  fprintf(stderr, "the index of what is shared: %s\n", error->message);
  return 1;
}
