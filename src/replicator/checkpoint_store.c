#include "replicator/checkpoint_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_trash.h"
#include "replicator/checkpoint_view.h"

#define CHAIN_MAX       (4u << 20)
#define CHAIN_LINKS_MAX 256u /* files of a run that cannot be merged: each is opened to go on from it */
#define MERGE_RESERVE   (64u << 20) /* bytes that a merge leaves on the disk for others */

void
checkpoint_kept_free(CheckpointKept *kept)
{
  io_close(&kept->directory);
  io_close(&kept->lock);
  checkpoint_chain_free(kept->chain);
  g_free(kept);
}

static char *
run_name(const guint8 run[CHECKPOINT_RUN])
{
  GString *name = g_string_new(NULL);
  for (guint i = 0; i < CHECKPOINT_RUN; i++)
    g_string_append_printf(name, "%02x", run[i]);
  return g_string_free(name, FALSE);
}

static gboolean
parse_run(const char *name, guint8 run[CHECKPOINT_RUN])
{
  for (guint i = 0; i < 2 * CHECKPOINT_RUN; i++) {
    int digit = g_ascii_isupper(name[i]) ? -1 : g_ascii_xdigit_value(name[i]);
    if (digit < 0)
      return FALSE;
    run[i / 2] = (guint8)(i % 2 ? run[i / 2] << 4 | digit : digit);
  }
  return !name[2 * CHECKPOINT_RUN];
}

/* ---- the chain ---- */

static gboolean
write_chain(CheckpointKept *kept, GError **error)
{
  gsize length = doppel__wire__checkpoint_chain__get_packed_size(kept->chain);
  g_autofree guint8 *bytes = g_malloc(length + sizeof(guint64));
  doppel__wire__checkpoint_chain__pack(kept->chain, bytes + sizeof(guint64));
  guint64 hash = GUINT64_TO_LE(XXH3_64bits(bytes + sizeof hash, length));
  memcpy(bytes, &hash, sizeof hash);
  g_auto(Fd) fd =
      openat(kept->directory, "chain.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd >= 0 && io_write_all(fd, bytes, length + sizeof hash) && fsync(fd) == 0 &&
      renameat(kept->directory, "chain.new", kept->directory, "chain") == 0) {
    /* It is the chain from here on, even if nobody can say whether it survives a loss of power. */
    if (fsync(kept->directory) < 0)
      g_warning("a program's checkpoints may not outlast a loss of power: %s", g_strerror(errno));
    return TRUE;
  }
  doppel_error_errno(error, "cannot keep a checkpoint");
  unlinkat(kept->directory, "chain.new", 0);
  return FALSE;
}

static CheckpointChain *
read_chain(int directory)
{
  g_auto(Fd) fd = openat(directory, "chain", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  struct stat facts;
  guint64 hash;
  if (fd < 0 || fstat(fd, &facts) < 0 || facts.st_size < (off_t)sizeof hash || facts.st_size > CHAIN_MAX)
    return NULL;
  g_autofree guint8 *bytes = g_malloc(facts.st_size);
  gsize length = (gsize)facts.st_size - sizeof hash;
  if (io_read_all(fd, bytes, facts.st_size) != facts.st_size)
    return NULL;
  memcpy(&hash, bytes, sizeof hash);
  if (GUINT64_FROM_LE(hash) != XXH3_64bits(bytes + sizeof hash, length))
    return NULL;
  return checkpoint_chain_unpack(bytes + sizeof hash, length, NULL);
}

static CheckpointKept *
open_run(const char *directory, const guint8 run[CHECKPOINT_RUN])
{
  g_autofree char *name = run_name(run), *path = g_build_filename(directory, name, NULL);
  g_autoptr(CheckpointKept) kept = g_new0(CheckpointKept, 1);
  memcpy(kept->run, run, CHECKPOINT_RUN);
  kept->lock = -1;
  kept->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  return kept->directory < 0 ? NULL : g_steal_pointer(&kept);
}

/* Another process may have changed it. */
static gboolean
renew(CheckpointKept *kept)
{
  CheckpointChain *chain = read_chain(kept->directory);
  if (!chain)
    return FALSE;
  checkpoint_chain_free(kept->chain);
  kept->chain = chain;
  return TRUE;
}

static int
lock_gate(const CheckpointKept *kept, GError **error)
{
  g_auto(Fd) gate = openat(kept->directory, "gate", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (gate >= 0 && flock(gate, LOCK_EX) == 0)
    return io_steal_fd(&gate);
  doppel_error_errno(error, "cannot lock a run's checkpoints");
  return -1;
}

/* ---- all of them ---- */

static gint64
newest_us(const CheckpointKept *kept)
{
  const CheckpointChain *chain = kept->chain;
  return chain->n_link ? chain->link[chain->n_link - 1]->kept_us : 0;
}

static gint
by_newest(gconstpointer a, gconstpointer b)
{
  gint64 left = newest_us(*(CheckpointKept *const *)a), right = newest_us(*(CheckpointKept *const *)b);
  return (left > right) - (left < right);
}

GPtrArray *
checkpoint_store_list(const char *directory)
{
  GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)checkpoint_kept_free);
  g_autoptr(GDir) entries = g_dir_open(directory, 0, NULL);
  for (const char *name; entries && (name = g_dir_read_name(entries));) {
    guint8 run[CHECKPOINT_RUN];
    g_autoptr(CheckpointKept) kept = parse_run(name, run) ? open_run(directory, run) : NULL;
    if (kept && renew(kept))
      g_ptr_array_add(list, g_steal_pointer(&kept));
  }
  g_ptr_array_sort(list, by_newest);
  return list;
}

CheckpointKept *
checkpoint_store_find(const char *directory, const guint8 *run, GError **error)
{
  g_autoptr(GPtrArray) list = checkpoint_store_list(directory);
  for (guint i = list->len; i-- > 0;) {
    CheckpointKept *kept = list->pdata[i];
    if (kept->chain->n_link > 0 && (!run || memcmp(kept->run, run, CHECKPOINT_RUN) == 0)) {
      g_ptr_array_set_free_func(list, NULL);
      for (guint k = 0; k < list->len; k++)
        if (k != i)
          checkpoint_kept_free(list->pdata[k]);
      return kept;
    }
  }
  doppel_error_set(
      error, DOPPEL_ERROR_NOT_FOUND,
      run ? "there is no such checkpoint; \"doppel checkpoints\" lists those there are"
          : "the clone keeps no checkpoint; \"doppel run --checkpoint 60s -- PROGRAM\" makes some");
  return NULL;
}

gboolean
checkpoint_kept_is_fed(const CheckpointKept *kept)
{
  g_auto(Fd) fd = openat(kept->directory, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

guint64
checkpoint_kept_bytes(const CheckpointKept *kept)
{
  guint64 sum = 0;
  for (gsize i = 0; i < kept->chain->n_link; i++)
    sum += kept->chain->link[i]->bytes;
  return sum;
}

gboolean
checkpoint_store_remove_run(const char *directory, const guint8 *run, GError **error)
{
  g_autofree char *name = run_name(run);
  g_auto(Fd) base = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int failure = base < 0 ? errno : generation_trash_remove(base, name);
  errno = failure;
  return failure == 0 || failure == ENOENT || doppel_error_errno(error, "cannot remove checkpoints");
}

gboolean
checkpoint_store_remove(const char *directory, GError **error)
{
  g_autofree char *above = g_path_get_dirname(directory), *name = g_path_get_basename(directory);
  g_auto(Fd) parent = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int failure = parent < 0 ? errno : generation_trash_remove(parent, name);
  errno = failure;
  return failure == 0 || failure == ENOENT ||
         doppel_error_errno(error, "cannot remove a clone's checkpoints in %s", directory);
}

/* ---- feeding ---- */

static void
make_room(const char *directory)
{
  g_autoptr(GPtrArray) list = checkpoint_store_list(directory);
  guint left = list->len;
  for (guint i = 0; i < list->len && left >= CHECKPOINT_RUNS_MAX; i++) {
    const CheckpointKept *kept = list->pdata[i];
    if (!checkpoint_kept_is_fed(kept) && checkpoint_store_remove_run(directory, kept->run, NULL))
      left--;
  }
}

static void
add_bytes(gsize *count, ProtobufCBinaryData **list, const ProtobufCBinaryData *bytes)
{
  *list = realloc(*list, (*count + 1) * sizeof **list);
  g_assert(*list); /* as GLib does for memory */
  guint8 *copy = malloc(MAX(bytes->len, 1));
  g_assert(copy);
  memcpy(copy, bytes->len ? bytes->data : copy, bytes->len);
  (*list)[(*count)++] = (ProtobufCBinaryData){bytes->len, copy};
}

static CheckpointChain *
new_chain(const Doppel__Wire__CheckpointRun *run)
{
  CheckpointChain *chain = malloc(sizeof *chain);
  g_assert(chain);
  doppel__wire__checkpoint_chain__init(chain);
  for (gsize i = 0; i < run->n_argument; i++)
    add_bytes(&chain->n_argument, &chain->argument, &run->argument[i]);
  gsize one = 0;
  ProtobufCBinaryData *directory = NULL;
  add_bytes(&one, &directory, &run->directory);
  chain->directory = *directory;
  free(directory);
  chain->host = strdup(run->host);
  chain->began_us = g_get_real_time();
  return chain;
}

static CheckpointKept *
make_run(const char *directory, const Doppel__Wire__CheckpointRun *run, GError **error)
{
  g_autofree char *name = run_name(run->run.data), *path = g_build_filename(directory, name, NULL);
  make_room(directory);
  if (g_mkdir_with_parents(directory, 0700) < 0 || (mkdir(path, 0700) < 0 && errno != EEXIST)) {
    doppel_error_errno(error, "cannot keep checkpoints in %s", directory);
    return NULL;
  }
  g_autoptr(CheckpointKept) kept = open_run(directory, run->run.data);
  if (!kept) {
    doppel_error_errno(error, "cannot keep checkpoints in %s", path);
    return NULL;
  }
  if (renew(kept))
    return g_steal_pointer(&kept);
  /* What cannot be read is not made to go: somebody may have to look at it. */
  if (faccessat(kept->directory, "chain", F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED,
                     "what is kept of this program's checkpoints cannot be read; remove it "
                     "(\"doppel checkpoints --remove\") to begin anew");
    return NULL;
  }
  kept->chain = new_chain(run);
  return write_chain(kept, error) ? g_steal_pointer(&kept) : NULL;
}

static gboolean
is_named(const CheckpointChain *chain, const char *name)
{
  for (gsize i = 0; i < chain->n_link; i++)
    if (strcmp(chain->link[i]->name, name) == 0)
      return TRUE;
  return FALSE;
}

/* What killed ones left. */
static void
sweep(const CheckpointKept *kept)
{
  int fd = openat(kept->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
  g_autoptr(GDir) entries = fd < 0 ? NULL : g_dir_open(path, 0, NULL);
  static const char *const ours[] = {"lock", "gate", "chain"};
  for (const char *name; entries && (name = g_dir_read_name(entries));) {
    gboolean stays = is_named(kept->chain, name);
    for (guint i = 0; i < G_N_ELEMENTS(ours); i++)
      stays |= strcmp(name, ours[i]) == 0;
    if (!stays)
      unlinkat(kept->directory, name, 0);
  }
  io_close(&fd);
}

static gboolean
refuse_taken(const CheckpointChain *chain, GError **error)
{
  return chain->taken_job
             ? doppel_error_set(error, DOPPEL_ERROR_DENIED,
                                "this checkpoint was resumed as job %" G_GUINT64_FORMAT, chain->taken_job)
             : doppel_error_set(error, DOPPEL_ERROR_DENIED, "this checkpoint was resumed on the device %s",
                                chain->taken_device);
}

static gboolean
is_taken(const CheckpointChain *chain)
{
  return chain->taken_job || *chain->taken_device;
}

CheckpointKept *
checkpoint_store_feed(const char *directory, const Doppel__Wire__CheckpointRun *run, GError **error)
{
  g_autoptr(CheckpointKept) kept = make_run(directory, run, error);
  if (!kept)
    return NULL;
  kept->lock = openat(kept->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (kept->lock < 0 || flock(kept->lock, LOCK_EX | LOCK_NB) < 0) {
    if (kept->lock >= 0 && errno == EWOULDBLOCK)
      doppel_error_set(error, DOPPEL_ERROR_FAILED, "another connection tells of this program still");
    else
      doppel_error_errno(error, "cannot lock a run's checkpoints");
    return NULL;
  }
  g_auto(Fd) gate = lock_gate(kept, error);
  if (gate < 0)
    return NULL;
  renew(kept);
  if (is_taken(kept->chain))
    return refuse_taken(kept->chain, error), NULL;
  sweep(kept);
  return g_steal_pointer(&kept);
}

static char *
part_name(const CheckpointKept *kept)
{
  return g_strdup_printf("%" G_GUINT64_FORMAT ".part", kept->chain->next_name);
}

int
checkpoint_kept_begin(CheckpointKept *kept, GError **error)
{
  g_autofree char *part = part_name(kept);
  int file = openat(kept->directory, part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0)
    doppel_error_errno(error, "cannot keep a checkpoint");
  return file;
}

void
checkpoint_kept_abandon(CheckpointKept *kept)
{
  g_autofree char *part = part_name(kept);
  unlinkat(kept->directory, part, 0);
}

static Doppel__Wire__CheckpointLink *
new_link(const CheckpointKept *kept, const CheckpointBody *body)
{
  Doppel__Wire__CheckpointLink *link = malloc(sizeof *link);
  g_assert(link);
  doppel__wire__checkpoint_link__init(link);
  g_autofree char *name = g_strdup_printf("%" G_GUINT64_FORMAT, kept->chain->next_name);
  link->name = strdup(name);
  link->number = body->state->number;
  link->bytes = body->bytes;
  link->hash = body->hash;
  link->pause_ns = body->state->pause_ns;
  link->kept_us = g_get_real_time();
  return link;
}

/* The file of `body` becomes the newest one; of a base the only one. What the chain named before and names no
 * more goes, when that is written down. */
static gboolean
enchain(CheckpointKept *kept, const CheckpointBody *body, gint64 kept_us, GError **error)
{
  CheckpointChain *chain = kept->chain;
  CheckpointChain former = *chain;
  g_autofree char *part = part_name(kept);
  Doppel__Wire__CheckpointLink *link = new_link(kept, body);
  link->kept_us = kept_us ? kept_us : link->kept_us;
  gsize stay = body->state->whole ? 0 : former.n_link;
  Doppel__Wire__CheckpointLink **links = malloc((stay + 1) * sizeof *links);
  g_assert(links);
  for (gsize i = 0; i < stay; i++)
    links[i] = former.link[i];
  links[stay] = link;
  chain->link = links;
  chain->n_link = stay + 1;
  chain->next_name++;
  chain->kept = MAX(chain->kept, link->number);
  gboolean done = fsync(body->file) == 0 &&
                  renameat(kept->directory, part, kept->directory, link->name) == 0 &&
                  fsync(kept->directory) == 0;
  if (!done)
    doppel_error_errno(error, "cannot keep a checkpoint");
  if (!done || !write_chain(kept, error)) {
    unlinkat(kept->directory, done ? link->name : part, 0);
    doppel__wire__checkpoint_link__free_unpacked(link, NULL);
    free(links);
    *chain = former;
    return FALSE;
  }
  for (gsize i = stay; i < former.n_link; i++) {
    unlinkat(kept->directory, former.link[i]->name, 0);
    doppel__wire__checkpoint_link__free_unpacked(former.link[i], NULL);
  }
  free(former.link);
  return TRUE;
}

gboolean
checkpoint_kept_add(CheckpointKept *kept, int file, guint64 number, guint64 hash, GError **error)
{
  g_autoptr(CheckpointBody) body = checkpoint_body_read(file, error);
  g_auto(Fd) gate = body ? lock_gate(kept, error) : -1;
  if (gate < 0)
    return FALSE;
  if (body->hash != hash || body->state->number != number)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a checkpoint came in otherwise than it was sent");
  if (!renew(kept))
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the checkpoints of this program were removed");
  if (is_taken(kept->chain))
    return refuse_taken(kept->chain, error);
  if (!body->state->whole && !kept->chain->n_link)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "a checkpoint came in without those before it");
  if (!body->state->whole && kept->chain->n_link >= CHAIN_LINKS_MAX)
    return doppel_error_set(
        error, DOPPEL_ERROR_FAILED,
        "the clone cannot merge this program's checkpoints (is its disk full?), and takes no "
        "more of them; those it has can be resumed");
  return enchain(kept, body, 0, error);
}

/* ---- using ---- */

static CheckpointBody *
open_link(const CheckpointKept *kept, const Doppel__Wire__CheckpointLink *link, GError **error)
{
  g_auto(Fd) file = openat(kept->directory, link->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) {
    doppel_error_errno(error, "cannot read a checkpoint");
    return NULL;
  }
  g_autoptr(CheckpointBody) body = checkpoint_body_read(file, error);
  if (!body || body->hash == link->hash)
    return g_steal_pointer(&body);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a checkpoint is not what was kept");
  return NULL;
}

GPtrArray *
checkpoint_kept_bodies(const CheckpointKept *kept, GError **error)
{
  g_autoptr(GPtrArray) bodies = g_ptr_array_new_with_free_func((GDestroyNotify)checkpoint_body_free);
  const CheckpointChain *chain = kept->chain;
  for (gsize i = 0; i < chain->n_link; i++) {
    CheckpointBody *body = open_link(kept, chain->link[i], error);
    if (!body)
      return NULL;
    g_ptr_array_add(bodies, body);
  }
  if (!bodies->len || !((CheckpointBody *)bodies->pdata[0])->state->whole) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no whole checkpoint of this program");
    return NULL;
  }
  return g_steal_pointer(&bodies);
}

JobRequest *
checkpoint_kept_request(const CheckpointKept *kept, GError **error)
{
  g_autoptr(GPtrArray) bodies = checkpoint_kept_bodies(kept, error);
  if (!bodies)
    return NULL;
  const CheckpointState *state = ((CheckpointBody *)bodies->pdata[bodies->len - 1])->state;
  gsize length = doppel__wire__job_request__get_packed_size(state->request);
  g_autofree guint8 *packed = g_malloc(MAX(length, 1));
  doppel__wire__job_request__pack(state->request, packed);
  JobRequest *request = job_request_unpack(packed, length, error);
  if (request)
    request->checkpoint = (ProtobufCBinaryData){CHECKPOINT_RUN, g_memdup2(kept->run, CHECKPOINT_RUN)};
  return request;
}

static gboolean
merge_is_due(const CheckpointChain *chain)
{
  guint64 newer = 0;
  for (gsize i = 1; i < chain->n_link; i++)
    newer += chain->link[i]->bytes;
  return chain->n_link > CHECKPOINT_CHAIN_MAX || (chain->n_link > 2 && newer > chain->link[0]->bytes);
}

/* A merged file takes no more than those that it is made of. */
static gboolean
has_room_to_merge(const CheckpointKept *kept, GError **error)
{
  struct statvfs disk;
  guint64 bytes = MERGE_RESERVE;
  for (gsize i = 0; i < kept->chain->n_link; i++)
    bytes += kept->chain->link[i]->bytes;
  if (fstatvfs(kept->directory, &disk) < 0)
    return doppel_error_errno(error, "cannot see how full the disk is");
  return disk.f_bavail >= bytes / disk.f_frsize ||
         doppel_error_set(error, DOPPEL_ERROR_FAILED, "the disk has no room for a merge");
}

gboolean
checkpoint_kept_merge(CheckpointKept *kept, gboolean all, GError **error)
{
  g_auto(Fd) gate = lock_gate(kept, error);
  if (gate < 0)
    return FALSE;
  if (!renew(kept))
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the checkpoints of this program were removed");
  const CheckpointChain *chain = kept->chain;
  if (chain->n_link < 2 || (!all && !merge_is_due(chain)))
    return TRUE;
  gint64 kept_us = chain->link[chain->n_link - 1]->kept_us;
  g_autoptr(GPtrArray) bodies = checkpoint_kept_bodies(kept, error);
  g_auto(Fd) file = bodies && has_room_to_merge(kept, error) ? checkpoint_kept_begin(kept, error) : -1;
  if (file < 0)
    return FALSE;
  g_autoptr(CheckpointWriter) writer = checkpoint_writer_new(file);
  g_autoptr(CheckpointBody) merged =
      checkpoint_view_merge(bodies, writer, error) ? checkpoint_body_read(file, error) : NULL;
  if (merged && enchain(kept, merged, kept_us, error))
    return TRUE;
  checkpoint_kept_abandon(kept);
  return FALSE;
}

static void
set_text(char **text, const char *value)
{
  if (*text != protobuf_c_empty_string)
    free(*text);
  *text = strdup(value);
}

gboolean
checkpoint_kept_take(CheckpointKept *kept, guint64 job, const char *device, gboolean force, gboolean again,
                     GError **error)
{
  g_auto(Fd) gate = lock_gate(kept, error);
  if (gate < 0)
    return FALSE;
  if (!renew(kept))
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "the checkpoints of this program were removed");
  if (!force && checkpoint_kept_is_fed(kept))
    return doppel_error_set(
        error, DOPPEL_ERROR_DENIED,
        "the program still runs as far as the clone knows (its device was heard of within "
        "the last minute); wait, or say --force where it surely does not");
  if (!again && is_taken(kept->chain)) {
    refuse_taken(kept->chain, error);
    g_prefix_error(error, "%s", "it goes on already (--again resumes it once more): ");
    return FALSE;
  }
  kept->chain->taken_job = job;
  set_text(&kept->chain->taken_device, device);
  kept->chain->taken_us = g_get_real_time();
  return write_chain(kept, error);
}
