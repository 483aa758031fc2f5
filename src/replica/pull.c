#include "replica/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/message.h"
#include "replica/path.h"

#define BLOCK  (64 * 1024)
#define DIGEST 16
#define DIGESTS_MAX                                                                                          \
  (REPLICA_MESSAGE_MAX / 2)    /* bytes of one request: names the first 2 GiB of an older version */
#define RUN_MAX   (4 * BLOCK)  /* bytes of one message */
#define ZEROS_MAX (4ull << 30) /* bytes of a file that are neither sent nor had */

struct ReplicaPull {
  ReplicaFix *fix;
  const ReplicaCopy *copy;
  char *path;
  guint flags;
  Fd fd; /* the temporary file */
  guint64 have_size;
  GByteArray *digests;
  guint64 end;      /* of the last piece */
  guint64 received; /* bytes of all pieces */
  gboolean done;
  ReplicaFacts facts;
};

/* Like pread(), but whole: bytes read, fewer only at the end; -1 with errno. */
static gssize
read_block(int fd, guint64 offset, guint8 *block)
{
  gsize have = 0;
  while (have < BLOCK) {
    ssize_t got = pread(fd, block + have, BLOCK - have, offset + have);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return -1;
    if (got == 0)
      break;
    have += got;
  }
  return have;
}

static void
digest_block(const guint8 *block, gsize length, guint8 digest[DIGEST])
{
  crypto_generichash(digest, DIGEST, block, length, NULL, 0);
}

/* Starts the temporary file as a copy of the older version, and names that version's blocks. */
static gboolean
take_old_version(ReplicaPull *pull)
{
  g_auto(Fd) old = openat(replica_fix_parent(pull->fix), replica_fix_name(pull->fix),
                          O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  struct stat st;
  if (old < 0 || fstat(old, &st) < 0 || !S_ISREG(st.st_mode))
    return TRUE;
  g_autofree guint8 *block = g_malloc(BLOCK);
  for (gssize got = BLOCK; got == BLOCK && pull->digests->len < DIGESTS_MAX; pull->have_size += got) {
    guint8 digest[DIGEST];
    got = read_block(old, pull->have_size, block);
    if (got < 0)
      return FALSE;
    if (got == 0)
      break;
    digest_block(block, got, digest);
    g_byte_array_append(pull->digests, digest, DIGEST);
    if (!io_write_all(pull->fd, block, got))
      return FALSE;
  }
  return TRUE;
}

ReplicaPull *
replica_pull_new(const ReplicaCopy *copy, const char *path, guint flags, GError **error)
{
  g_autoptr(ReplicaPull) pull = g_new0(ReplicaPull, 1);
  pull->fd = -1;
  pull->copy = copy;
  pull->path = g_strdup(path);
  pull->flags = flags;
  pull->digests = g_byte_array_new();
  pull->fix = replica_fix_begin(copy, path, error);
  if (!pull->fix)
    return NULL;
  pull->fd = openat(replica_fix_parent(pull->fix), replica_fix_temporary(pull->fix),
                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (pull->fd >= 0 && take_old_version(pull))
    return g_steal_pointer(&pull);
  doppel_error_errno(error, "cannot prepare a copy of %s in the clone", path);
  return NULL;
}

void
replica_pull_free(ReplicaPull *pull)
{
  g_clear_pointer(&pull->fix, replica_fix_free);
  io_close(&pull->fd);
  g_byte_array_unref(pull->digests);
  replica_facts_clear(&pull->facts);
  g_free(pull->path);
  g_free(pull);
}

GBytes *
replica_pull_request(ReplicaPull *pull)
{
  Doppel__Wire__ReplicaPullRequest message = DOPPEL__WIRE__REPLICA_PULL_REQUEST__INIT;
  message.path = replica_path_to_message(pull->path);
  message.have_size = pull->have_size;
  message.have_digests = (ProtobufCBinaryData){.data = pull->digests->data, .len = pull->digests->len};
  return replica_message_pack(&message.base);
}

gboolean
replica_pull_done(const ReplicaPull *pull)
{
  return pull->done;
}

static gboolean
refuse(ReplicaPull *pull, GError **error)
{
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device sent content of %s that makes no sense",
                          pull->path);
}

static gboolean
take_end(ReplicaPull *pull, const Doppel__Wire__ReplicaPullPart *part, GError **error)
{
  if (!replica_facts_own_from_message(part->facts, &pull->facts, error))
    return FALSE;
  if (pull->facts.type != REPLICA_FILE || !pull->facts.hashed || pull->end > pull->facts.size)
    return refuse(pull, error);
  /* Zeros cost the device nothing to send, and the clone as much as other bytes to hash. */
  if (pull->facts.size > pull->have_size + pull->received &&
      pull->facts.size - pull->have_size - pull->received > ZEROS_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED, "%s has more than %u GiB of nothing in it",
                            pull->path, (guint)(ZEROS_MAX >> 30));
  guint8 hash[REPLICA_HASH_SIZE];
  if (ftruncate(pull->fd, pull->facts.size) < 0 || !replica_hash_fd(pull->fd, hash))
    return doppel_error_errno(error, "cannot write a copy of %s in the clone", pull->path);
  if (memcmp(hash, pull->facts.hash, sizeof hash) != 0)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "what the device sent of %s does not have the hash it named", pull->path);
  pull->done = TRUE;
  return TRUE;
}

static gboolean
take_part(ReplicaPull *pull, const Doppel__Wire__ReplicaPullPart *part, GError **error)
{
  if (part->end)
    return take_end(pull, part, error);
  if (part->bytes.len == 0 || part->offset < pull->end || part->offset > G_MAXINT64 - REPLICA_MESSAGE_MAX)
    return refuse(pull, error);
  pull->end = part->offset + part->bytes.len;
  pull->received += part->bytes.len;
  if (lseek(pull->fd, part->offset, SEEK_SET) < 0 ||
      !io_write_all(pull->fd, part->bytes.data, part->bytes.len))
    return doppel_error_errno(error, "cannot write a copy of %s in the clone", pull->path);
  return TRUE;
}

gboolean
replica_pull_push(ReplicaPull *pull, const guint8 *data, gsize length, GError **error)
{
  if (pull->done || length > REPLICA_MESSAGE_MAX)
    return refuse(pull, error);
  Doppel__Wire__ReplicaPullPart *part = doppel__wire__replica_pull_part__unpack(NULL, length, data);
  if (!part)
    return refuse(pull, error);
  gboolean good = take_part(pull, part, error);
  doppel__wire__replica_pull_part__free_unpacked(part, NULL);
  return good;
}

/* Copies what differs over the existing file. */
static gboolean
overwrite(ReplicaPull *pull)
{
  g_auto(Fd) target = openat(replica_fix_parent(pull->fix), replica_fix_name(pull->fix),
                             O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  struct stat st;
  if (target < 0 || fstat(target, &st) < 0)
    return FALSE;
  g_autofree guint8 *fresh = g_malloc(BLOCK);
  g_autofree guint8 *old = g_malloc(BLOCK);
  for (guint64 offset = 0; offset < pull->facts.size; offset += BLOCK) {
    gssize length = read_block(pull->fd, offset, fresh), have = read_block(target, offset, old);
    if (length < 0 || have < 0)
      return FALSE;
    if (have >= length && memcmp(fresh, old, length) == 0)
      continue;
    if (lseek(target, offset, SEEK_SET) < 0 || !io_write_all(target, fresh, length))
      return FALSE;
  }
  return ftruncate(target, pull->facts.size) == 0;
}

/* Never where the file has names in the clone that are others' on the device. */
static gboolean
keeps_inode(ReplicaPull *pull)
{
  struct stat st;
  return (pull->flags & REPLICA_PULL_IN_PLACE) &&
         fstatat(replica_fix_parent(pull->fix), replica_fix_name(pull->fix), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(st.st_mode) && st.st_nlink <= MAX(pull->facts.nlink, 1);
}

gboolean
replica_pull_finish(ReplicaPull *pull, ReplicaFacts *facts, GError **error)
{
  if (!pull->done)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the content of %s has not come whole", pull->path);
  if (keeps_inode(pull)) {
    int parent = replica_fix_parent(pull->fix);
    if (!overwrite(pull))
      return doppel_error_errno(error, "cannot write to %s in the clone", pull->path);
    errno = replica_facts_set(parent, replica_fix_name(pull->fix), &pull->facts, REPLICA_FACT_METADATA);
    if (errno || unlinkat(parent, replica_fix_temporary(pull->fix), 0) < 0)
      return doppel_error_errno(error, "cannot write to %s in the clone", pull->path);
  } else if (!replica_fix_place(pull->fix, &pull->facts, error)) {
    return FALSE;
  }
  if (!replica_fix_end(pull->fix, error))
    return FALSE;
  if (facts)
    replica_facts_copy(facts, &pull->facts);
  return TRUE;
}

struct ReplicaSend {
  int root;
  char *path;
  guint64 have_size;
  GByteArray *digests;
  Fd fd;
  ReplicaFacts facts;
  crypto_generichash_state hash;
  guint64 offset; /* read so far */
  gboolean ended;
};

static gboolean
take_request(ReplicaSend *send, const guint8 *request, gsize length, GError **error)
{
  Doppel__Wire__ReplicaPullRequest *message =
      length <= REPLICA_MESSAGE_MAX ? doppel__wire__replica_pull_request__unpack(NULL, length, request)
                                    : NULL;
  if (!message)
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                            "the clone asked for a file in a message that is none");
  send->path = replica_path_from_message(&message->path, FALSE, error);
  guint64 blocks = message->have_size / BLOCK + (message->have_size % BLOCK != 0);
  gboolean good =
      send->path && message->have_digests.len % DIGEST == 0 && blocks == message->have_digests.len / DIGEST;
  if (good)
    g_byte_array_append(send->digests, message->have_digests.data, message->have_digests.len);
  else if (send->path)
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone named blocks of %s that make no sense",
                     send->path);
  send->have_size = message->have_size;
  doppel__wire__replica_pull_request__free_unpacked(message, NULL);
  return good;
}

ReplicaSend *
replica_send_new(int root, const guint8 *request, gsize length, GError **error)
{
  g_autoptr(ReplicaSend) send = g_new0(ReplicaSend, 1);
  send->fd = -1;
  send->digests = g_byte_array_new();
  send->root = fcntl(root, F_DUPFD_CLOEXEC, 3);
  crypto_generichash_init(&send->hash, NULL, 0, REPLICA_HASH_SIZE);
  if (!take_request(send, request, length, error))
    return NULL;
  int failure = replica_facts_read(root, send->path, 0, NULL, &send->facts);
  if (failure || send->facts.type != REPLICA_FILE) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s is no file on the device%s%s", send->path,
                     failure ? ": " : "", failure ? g_strerror(failure) : "");
    return NULL;
  }
  send->fd = replica_path_open(root, send->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (send->fd >= 0)
    return g_steal_pointer(&send);
  doppel_error_errno(error, "cannot read %s", send->path);
  return NULL;
}

void
replica_send_free(ReplicaSend *send)
{
  io_close(&send->fd);
  io_close(&send->root);
  g_byte_array_unref(send->digests);
  replica_facts_clear(&send->facts);
  g_free(send->path);
  g_free(send);
}

static gboolean
clone_has(const ReplicaSend *send, guint64 offset, const guint8 *block, gsize length)
{
  if (offset >= send->have_size)
    return block[0] == 0 && memcmp(block, block + 1, length - 1) == 0; /* its file grows by zeros */
  guint8 digest[DIGEST];
  digest_block(block, length, digest);
  return memcmp(send->digests->data + offset / BLOCK * DIGEST, digest, DIGEST) == 0;
}

static GBytes *
pack_run(guint64 offset, GByteArray *run)
{
  Doppel__Wire__ReplicaPullPart part = DOPPEL__WIRE__REPLICA_PULL_PART__INIT;
  part.offset = offset;
  part.bytes = (ProtobufCBinaryData){.data = run->data, .len = run->len};
  return replica_message_pack(&part.base);
}

/* The version that was read is one version only if nothing changed since it was begun. */
static GBytes *
pack_end(ReplicaSend *send, GError **error)
{
  const guint what = REPLICA_FACT_INODE | REPLICA_FACT_SIZE | REPLICA_FACT_MTIME;
  g_auto(ReplicaFacts) now = {0};
  int failure = replica_facts_read(send->root, send->path, 0, NULL, &now);
  if (failure || !replica_facts_equal(&now, &send->facts, what) || send->offset != send->facts.size) {
    doppel_error_set(error, DOPPEL_ERROR_MISMATCH, "%s changed while it was read", send->path);
    return NULL;
  }
  crypto_generichash_final(&send->hash, send->facts.hash, REPLICA_HASH_SIZE);
  send->facts.hashed = TRUE;
  send->ended = TRUE;
  Doppel__Wire__ReplicaPullPart part = DOPPEL__WIRE__REPLICA_PULL_PART__INIT;
  Doppel__Wire__ReplicaFacts facts;
  replica_facts_own_to_message(&send->facts, &facts);
  part.end = TRUE;
  part.facts = &facts;
  return replica_message_pack(&part.base);
}

GBytes *
replica_send_next(ReplicaSend *send, GError **error)
{
  if (send->ended)
    return NULL;
  g_autofree guint8 *block = g_malloc(BLOCK);
  g_autoptr(GByteArray) run = g_byte_array_new();
  guint64 start = send->offset;
  while (run->len < RUN_MAX) {
    gssize got = read_block(send->fd, send->offset, block);
    if (got < 0) {
      doppel_error_errno(error, "cannot read %s", send->path);
      return NULL;
    }
    if (got == 0)
      break;
    crypto_generichash_update(&send->hash, block, got);
    gboolean has = clone_has(send, send->offset, block, got);
    if (has && run->len) { /* closes the run; the next call takes it from here */
      send->offset += got;
      return pack_run(start, run);
    }
    send->offset += got;
    if (has)
      start = send->offset;
    else
      g_byte_array_append(run, block, got);
  }
  return run->len ? pack_run(start, run) : pack_end(send, error);
}
