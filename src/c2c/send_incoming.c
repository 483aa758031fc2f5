/* An item that comes into a box. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/database.h"
#include "base/error.h"
#include "c2c/send_box_private.h"
#include "c2c/send_name.h"

#define SETTLE_BYTES (G_GUINT64_CONSTANT(16) << 20) /* at most so much comes again after a loss of power */
#define LOCK_TRIES   20
#define LOCK_WAIT_US 100000
#define NAMES_MOST   100000u

static gboolean refuse(SendWhy *why, SendWhy reason, GError **error, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

static gboolean
refuse(SendWhy *why, SendWhy reason, GError **error, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  g_autofree char *words = g_strdup_vprintf(format, values);
  va_end(values);
  *why = reason;
  return doppel_error_set(error, DOPPEL_ERROR_DENIED, "%s", words);
}

static SendItem *
find(SendBox *box, const char *who, const Doppel__Send__Offer *offer, GError **error)
{
  g_autoptr(DatabaseStatement) row =
      database_prepare(box->database, error, "SELECT " SEND_BOX_COLUMNS " FROM item WHERE who=? AND item=?",
                       "tb", who, offer->item.data, offer->item.len);
  int step = row ? database_step(row, error) : -1;
  return step > 0 ? send_box_item(row, error) : NULL;
}

static gboolean
used(SendBox *box, const char *who, guint64 *each, guint64 *all, guint *items, GError **error)
{
  g_autoptr(DatabaseStatement) row = database_prepare(
      box->database, error,
      "SELECT total(CASE WHEN who=?1 THEN size END), total(size), count(CASE WHEN who=?1 THEN 1 END)"
      " FROM item WHERE state IN (1, 2, 3)",
      "t", who);
  if (!row || database_step(row, error) <= 0)
    return FALSE;
  *each = sqlite3_column_double(row, 0);
  *all = sqlite3_column_double(row, 1);
  *items = sqlite3_column_int64(row, 2);
  return TRUE;
}

static gboolean
has_room(SendBox *box, const char *who, guint64 size, const SendBoxLimits *limits, SendWhy *why,
         GError **error)
{
  guint64 each, all;
  guint items;
  struct statvfs disk;
  if (!used(box, who, &each, &all, &items, error))
    return FALSE;
  g_autofree char *wanted = g_format_size(size);
  g_autofree char *most = g_format_size(limits->each);
  if (size > limits->each || each > limits->each - size)
    return refuse(why, DOPPEL__SEND__WHY__QUOTA, error,
                  "there is no room for another %s from you: %s is the most", wanted, most);
  if (items >= limits->items)
    return refuse(why, DOPPEL__SEND__WHY__QUOTA, error, "%u files from you wait already", items);
  if (size > limits->all || all > limits->all - size)
    return refuse(why, DOPPEL__SEND__WHY__FULL, error, "there is no room for another %s", wanted);
  if (fstatvfs(box->files, &disk) == 0 && size + limits->spare > (guint64)disk.f_bavail * disk.f_frsize)
    return refuse(why, DOPPEL__SEND__WHY__FULL, error, "the disk has no room for another %s", wanted);
  return TRUE;
}

/* What is used and the item that uses more of it are one transaction: of two senders at the same time one
 * sees the other. */
static SendItem *
insert(SendBox *box, const char *who, const char *user, const Doppel__Send__Offer *offer,
       const SendBoxLimits *limits, SendWhy *why, GError **error)
{
  g_autofree char *name = send_name_clean(offer->name);
  if (!database_begin(box->database, error))
    return NULL;
  gboolean done =
      has_room(box, who, offer->size, limits, why, error) &&
      database_run(box->database, error,
                   "INSERT INTO item(item, who, user, name, size, hash, mode, mtime, state, changed)"
                   " VALUES(?,?,?,?,?,?,?,?,1,?)",
                   "btttibiii", offer->item.data, offer->item.len, who, user, name, (gint64)offer->size,
                   offer->hash.data, offer->hash.len, (gint64)offer->mode, (gint64)offer->mtime_ns,
                   (gint64)g_get_real_time());
  if (!database_end(box->database, done, error))
    return NULL;
  return find(box, who, offer, error);
}

static gboolean
lock(int file, SendWhy *why, GError **error)
{
  for (guint i = 0; i < LOCK_TRIES; i++) {
    if (flock(file, LOCK_EX | LOCK_NB) == 0)
      return TRUE;
    g_usleep(LOCK_WAIT_US);
  }
  return refuse(why, DOPPEL__SEND__WHY__LATER, error,
                "it is being received already, over another connection");
}

/* A disk that becomes full in the middle would be found out late, and harm others. */
static gboolean
reserve(SendBox *box, int file, guint64 size, SendWhy *why, GError **error)
{
  if (size == 0 || fallocate(file, FALLOC_FL_KEEP_SIZE, 0, size) == 0 || errno == EOPNOTSUPP ||
      errno == ENOSYS)
    return TRUE;
  if (errno == ENOSPC || errno == EDQUOT)
    return refuse(why, DOPPEL__SEND__WHY__FULL, error, "the disk has no room for it");
  return doppel_error_errno(error, "cannot make room in %s", box->directory);
}

/* Brings the state of the hash to what is there already. */
static gboolean
hash_beginning(SendIncoming *incoming, GError **error)
{
  g_autofree guint8 *buffer = g_malloc(1 << 20);
  crypto_generichash_init(&incoming->hash, NULL, 0, SEND_HASH);
  while (incoming->offset < incoming->item->durable) {
    gssize got = pread(incoming->file, buffer, MIN(incoming->item->durable - incoming->offset, 1 << 20),
                       incoming->offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return doppel_error_errno(error, "cannot read what has come already of item %" G_GINT64_FORMAT,
                                incoming->item->id);
    crypto_generichash_update(&incoming->hash, buffer, got);
    incoming->offset += got;
  }
  return TRUE;
}

/* Another process may have been at it before this one had the lock. */
static gboolean
look_again(SendIncoming *incoming, const Doppel__Send__Offer *offer, SendWhy *why, GError **error)
{
  g_autoptr(GError) problem = NULL;
  SendItem *now = find(incoming->box, incoming->item->who, offer, &problem);
  if (now) {
    send_item_free(incoming->item);
    incoming->item = now;
    return TRUE;
  }
  if (!problem) {
    char name[SEND_BOX_FILE];
    send_box_file(incoming->item->id, name);
    unlinkat(incoming->box->files, name, 0);
    return refuse(why, DOPPEL__SEND__WHY__LATER, error, "it was given up just now");
  }
  g_propagate_error(error, g_steal_pointer(&problem));
  return FALSE;
}

static gboolean
open_file(SendIncoming *incoming, const Doppel__Send__Offer *offer, SendWhy *why, GError **error)
{
  struct stat status;
  char name[SEND_BOX_FILE];
  send_box_file(incoming->item->id, name);
  incoming->file = openat(incoming->box->files, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (incoming->file < 0)
    return doppel_error_errno(error, "cannot make a file in %s", incoming->box->directory);
  if (!lock(incoming->file, why, error) || !look_again(incoming, offer, why, error))
    return FALSE;
  SendItem *item = incoming->item;
  if (item->state != DOPPEL__SEND__STATE__PARTIAL)
    return TRUE;
  if (fstat(incoming->file, &status) < 0 || status.st_nlink == 0)
    return refuse(why, DOPPEL__SEND__WHY__LATER, error, "it was given up just now");
  if (item->durable > (guint64)status.st_size)
    item->durable = 0; /* the disk was repaired, or a backup put back */
  if (ftruncate(incoming->file, item->durable) < 0)
    return doppel_error_errno(error, "cannot shorten a file in %s", incoming->box->directory);
  return reserve(incoming->box, incoming->file, item->size, why, error) && hash_beginning(incoming, error);
}

static void
discard(SendIncoming *incoming)
{
  char name[SEND_BOX_FILE];
  send_box_file(incoming->item->id, name);
  database_run(incoming->box->database, NULL, "DELETE FROM item WHERE id=? AND state=1", "i",
               incoming->item->id);
  unlinkat(incoming->box->files, name, 0);
  io_close(&incoming->file);
}

SendIncoming *
send_incoming_begin(SendBox *box, const char *who, const char *user, const Doppel__Send__Offer *offer,
                    const SendBoxLimits *limits, SendWhy *why, GError **error)
{
  g_autoptr(GError) problem = NULL;
  g_autoptr(SendIncoming) incoming = g_new0(SendIncoming, 1);
  incoming->box = box;
  incoming->file = -1;
  *why = DOPPEL__SEND__WHY__LATER;
  incoming->item = find(box, who, offer, &problem);
  if (!incoming->item && !problem)
    incoming->item = insert(box, who, user, offer, limits, why, &problem);
  SendItem *item = incoming->item;
  gboolean good = item != NULL;
  if (good && (item->size != offer->size || memcmp(item->hash, offer->hash.data, SEND_HASH) != 0))
    good = refuse(why, DOPPEL__SEND__WHY__MALFORMED, &problem,
                  "another file was offered under that number before");
  if (good && item->state == DOPPEL__SEND__STATE__PARTIAL) {
    good = open_file(incoming, offer, why, &problem);
    if (!good && *why == DOPPEL__SEND__WHY__FULL)
      discard(incoming);
  }
  if (good)
    return g_steal_pointer(&incoming);
  g_propagate_error(error, g_steal_pointer(&problem));
  return NULL;
}

gboolean
send_incoming_settle(SendIncoming *incoming, GError **error)
{
  if (incoming->unsettled == 0)
    return TRUE;
  if (fdatasync(incoming->file) < 0)
    return doppel_error_errno(error, "cannot write to %s", incoming->box->directory);
  incoming->unsettled = 0;
  return database_run(incoming->box->database, error,
                      "UPDATE item SET durable=?2, changed=?3 WHERE id=?1 AND state=1", "iii",
                      incoming->item->id, (gint64)incoming->offset, (gint64)g_get_real_time());
}

static gboolean
fail_write(SendIncoming *incoming, SendWhy *why, GError **error)
{
  if (errno == ENOSPC || errno == EDQUOT) {
    discard(incoming);
    return refuse(why, DOPPEL__SEND__WHY__FULL, error, "the disk has no room for it");
  }
  return doppel_error_errno(error, "cannot write to %s", incoming->box->directory);
}

gboolean
send_incoming_write(SendIncoming *incoming, const void *data, gsize length, SendWhy *why, GError **error)
{
  *why = DOPPEL__SEND__WHY__LATER;
  if (length > incoming->item->size - incoming->offset) {
    discard(incoming);
    return refuse(why, DOPPEL__SEND__WHY__WRONG, error, "more bytes came than were offered");
  }
  for (gsize done = 0; done < length;) {
    gssize written =
        pwrite(incoming->file, (const guint8 *)data + done, length - done, incoming->offset + done);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return fail_write(incoming, why, error);
    done += written;
  }
  crypto_generichash_update(&incoming->hash, data, length);
  incoming->offset += length;
  incoming->unsettled += length;
  return incoming->unsettled < SETTLE_BYTES || send_incoming_settle(incoming, error);
}

/* A name that no other item in the box has. */
static char *
free_name(SendBox *box, const char *name, GError **error)
{
  for (guint n = 1; n <= NAMES_MOST; n++) {
    g_autofree char *kept = send_name_numbered(name, n);
    g_autoptr(DatabaseStatement) row =
        database_prepare(box->database, error, "SELECT 1 FROM item WHERE kept=?", "t", kept);
    int step = row ? database_step(row, error) : -1;
    if (step < 0)
      return NULL;
    if (step == 0)
      return g_steal_pointer(&kept);
  }
  doppel_error_set(error, DOPPEL_ERROR_FAILED, "too many files have the name %s", name);
  return NULL;
}

static gboolean
keep(SendIncoming *incoming, GError **error)
{
  SendBox *box = incoming->box;
  SendItem *item = incoming->item;
  g_autofree char *kept = box->own_names ? free_name(box, item->name, error) : g_strdup(item->name);
  item->changed_us = g_get_real_time();
  if (!kept || !database_run(box->database, error,
                             "UPDATE item SET state=2, durable=size, kept=?4, name=?2, changed=?3"
                             " WHERE id=?1 AND state=1",
                             "itit", item->id, kept, item->changed_us, box->own_names ? kept : NULL))
    return FALSE;
  item->state = DOPPEL__SEND__STATE__KEPT;
  g_free(item->name);
  item->name = g_steal_pointer(&kept);
  return TRUE;
}

gboolean
send_incoming_complete(SendIncoming *incoming, SendWhy *why, GError **error)
{
  guint8 hash[SEND_HASH];
  *why = DOPPEL__SEND__WHY__LATER;
  g_return_val_if_fail(incoming->offset == incoming->item->size, FALSE);
  crypto_generichash_final(&incoming->hash, hash, SEND_HASH);
  if (memcmp(hash, incoming->item->hash, SEND_HASH) != 0) {
    discard(incoming);
    return refuse(why, DOPPEL__SEND__WHY__WRONG, error, "what came has another hash than was offered");
  }
  /* The file's name in its directory has to be on the disk as well. */
  if (fsync(incoming->file) < 0 || fsync(incoming->box->files) < 0)
    return doppel_error_errno(error, "cannot write to %s", incoming->box->directory);
  /* This is what is confirmed. */
  if (!send_box_lasting(incoming->box, TRUE, error) || !database_begin(incoming->box->database, error))
    return FALSE;
  if (!database_end(incoming->box->database, keep(incoming, error), error))
    return FALSE;
  send_box_wake(incoming->box);
  return send_box_lasting(incoming->box, FALSE, error);
}

void
send_incoming_free(SendIncoming *incoming)
{
  if (!incoming)
    return;
  if (incoming->file >= 0 && incoming->item->state == DOPPEL__SEND__STATE__PARTIAL)
    send_incoming_settle(incoming, NULL);
  io_close(&incoming->file);
  send_item_free(incoming->item);
  g_free(incoming);
}
