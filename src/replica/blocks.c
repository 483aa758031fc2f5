#include "replica/blocks.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define WINDOW (64 * REPLICA_BLOCK) /* bytes read at once */

typedef struct {
  guint8 bytes[16];
} Digest;

struct ReplicaBlocks {
  gint refs;
  guint64 size;    /* bytes of the content */
  GArray *digests; /* of Digest */
};

ReplicaBlocks *
replica_blocks_ref(ReplicaBlocks *blocks)
{
  g_atomic_int_inc(&blocks->refs);
  return blocks;
}

void
replica_blocks_unref(ReplicaBlocks *blocks)
{
  if (!g_atomic_int_dec_and_test(&blocks->refs))
    return;
  g_array_unref(blocks->digests);
  g_free(blocks);
}

static const guint8 *
secret(void)
{
  static gsize ready;
  static guint8 bytes[XXH3_SECRET_SIZE_MIN];
  if (g_once_init_enter(&ready)) {
    randombytes_buf(bytes, sizeof bytes);
    g_once_init_leave(&ready, 1);
  }
  return bytes;
}

static Digest
digest_of(const guint8 *data, gsize length)
{
  XXH128_hash_t hash = XXH3_128bits_withSecret(data, length, secret(), XXH3_SECRET_SIZE_MIN);
  Digest digest;
  memcpy(digest.bytes, &hash, sizeof digest.bytes);
  return digest;
}

static gboolean
all_zero(const guint8 *data, gsize length)
{
  return length == 0 || (data[0] == 0 && memcmp(data, data + 1, length - 1) == 0);
}

/* Like io_read_all() at an offset. */
static gssize
read_at(int fd, guint8 *data, gsize length, guint64 offset)
{
  gsize have = 0;
  while (have < length) {
    ssize_t got = pread(fd, data + have, length - have, offset + have);
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
append_range(GArray *ranges, guint64 offset, guint64 length, gboolean zeros)
{
  ReplicaRange *last = ranges->len ? &g_array_index(ranges, ReplicaRange, ranges->len - 1) : NULL;
  if (last && last->zeros == zeros && last->offset + last->length == offset)
    last->length += length;
  else
    g_array_append_vals(ranges, &(ReplicaRange){.offset = offset, .length = length, .zeros = zeros}, 1);
}

/* One pass over a file: what is compared, and a window of each side. */
typedef struct {
  int fd;
  const ReplicaBasis *basis;
  GArray *ranges;
  ReplicaBlocks *blocks;
  Digest zero_block;
  guint8 *now, *then;
} Pass;

static gboolean
same_as_basis(Pass *pass, guint64 offset, gsize length, const Digest *digest, const guint8 *now,
              gsize then_length)
{
  const ReplicaBasis *basis = pass->basis;
  if (basis->blocks) {
    guint64 old_size = basis->blocks->size;
    gsize old_length = old_size > offset ? MIN(old_size - offset, REPLICA_BLOCK) : 0;
    return old_length == length &&
           memcmp(&g_array_index(basis->blocks->digests, Digest, offset / REPLICA_BLOCK), digest,
                  sizeof *digest) == 0;
  }
  return then_length >= length && memcmp(now, pass->then + (now - pass->now), length) == 0;
}

static void
take_block(Pass *pass, guint64 offset, const guint8 *now, gsize length, gsize then_length)
{
  guint64 old_size = pass->basis->blocks    ? pass->basis->blocks->size
                     : pass->basis->fd >= 0 ? pass->basis->size
                                            : 0;
  gboolean zeros = all_zero(now, length);
  Digest digest = zeros && length == REPLICA_BLOCK ? pass->zero_block : digest_of(now, length);
  g_array_append_val(pass->blocks->digests, digest);
  if (!pass->ranges || (zeros && offset >= old_size) ||
      same_as_basis(pass, offset, length, &digest, now, then_length))
    return;
  append_range(pass->ranges, offset, length, zeros);
}

static gboolean
take_window(Pass *pass, guint64 offset, gsize *taken)
{
  gssize got = read_at(pass->fd, pass->now, WINDOW, offset);
  if (got < 0)
    return FALSE;
  *taken = got;
  gssize then = 0;
  if (pass->ranges && !pass->basis->blocks && pass->basis->fd >= 0 && offset < pass->basis->size) {
    then = read_at(pass->basis->fd, pass->then, MIN((guint64)got, pass->basis->size - offset), offset);
    if (then < 0)
      return FALSE;
  }
  for (gssize at = 0; at < got; at += REPLICA_BLOCK)
    take_block(pass, offset + at, pass->now + at, MIN(REPLICA_BLOCK, got - at), then > at ? then - at : 0);
  return TRUE;
}

/* Where the next byte that is no hole can be at or after `offset`, rounded down to a window; `end` where
 * there is none. */
static guint64
next_data(int fd, guint64 offset, guint64 end)
{
  off_t data = lseek(fd, offset, SEEK_DATA);
  if (data < 0)
    return errno == ENXIO ? end : offset;
  return MAX(offset, MIN((guint64)data, end) / WINDOW * WINDOW);
}

/* Takes a hole beyond the basis's end without reading it. */
static guint64
skip_hole(Pass *pass, guint64 offset, guint64 size)
{
  guint64 old_size = pass->basis->blocks    ? pass->basis->blocks->size
                     : pass->basis->fd >= 0 ? pass->basis->size
                                            : 0;
  if (pass->ranges && offset < old_size)
    return offset;
  guint64 end = next_data(pass->fd, offset, size) / WINDOW * WINDOW;
  for (; offset < end; offset += REPLICA_BLOCK)
    g_array_append_val(pass->blocks->digests, pass->zero_block);
  return offset;
}

static gboolean
run_pass(Pass *pass)
{
  off_t size = lseek(pass->fd, 0, SEEK_END);
  if (size < 0)
    return FALSE;
  for (guint64 offset = 0;;) {
    offset = skip_hole(pass, offset, size);
    gsize taken;
    if (!take_window(pass, offset, &taken))
      return FALSE;
    offset += taken;
    pass->blocks->size = offset;
    if (taken < WINDOW)
      return TRUE;
  }
}

ReplicaBlocks *
replica_blocks_read(int fd, const ReplicaBasis *basis, GArray *ranges, guint64 *size)
{
  ReplicaBlocks *blocks = g_new0(ReplicaBlocks, 1);
  blocks->refs = 1;
  blocks->digests = g_array_new(FALSE, FALSE, sizeof(Digest));
  g_autofree guint8 *now = g_malloc0(WINDOW);
  g_autofree guint8 *then = g_malloc0(WINDOW);
  Pass pass = {.fd = fd, .basis = basis, .ranges = ranges, .blocks = blocks, .now = now, .then = then};
  pass.zero_block = digest_of(then, REPLICA_BLOCK);
  off_t position = lseek(fd, 0, SEEK_CUR);
  gboolean good = run_pass(&pass);
  int saved = errno;
  lseek(fd, position, SEEK_SET);
  errno = saved;
  *size = blocks->size;
  if (good)
    return blocks;
  replica_blocks_unref(blocks);
  return NULL;
}
