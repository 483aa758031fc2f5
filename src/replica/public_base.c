#include "replica/public_base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/generation_copy.h"
#include "replica/path.h"
#include "replica/public_set.h"

#define CONTENTS "contents"
#define NEW      "new"
#define FRESH    NEW "/content"
#define HEX      (2 * GENERATION_CONTENT_HASH)
#define PLACE    (sizeof CONTENTS + 2 + 1 + HEX - 2 + 1) /* bytes of "contents/ab/cdef..." */

guint64
public_base_key(const guint8 hash[static GENERATION_CONTENT_HASH])
{
  guint64 head;
  memcpy(&head, hash, sizeof head);
  return GUINT64_FROM_BE(head);
}

guint64
public_base_size_key(guint64 size)
{
  guint64 little = GUINT64_TO_LE(size);
  return XXH3_64bits(&little, sizeof little);
}

/* ---- the proof ---- */

void
public_proof_begin(PublicProof *proof, const guint8 salt[static GENERATION_SALT])
{
  guint8 key[crypto_onetimeauth_KEYBYTES];
  crypto_generichash(key, sizeof key, salt, GENERATION_SALT, NULL, 0);
  crypto_onetimeauth_init(proof, key);
}

void
public_proof_add(PublicProof *proof, const guint8 *bytes, guint64 length)
{
  static const guint8 zeros[64 << 10];
  if (bytes)
    crypto_onetimeauth_update(proof, bytes, length);
  for (; !bytes && length > 0; length -= MIN(length, sizeof zeros))
    crypto_onetimeauth_update(proof, zeros, MIN(length, sizeof zeros));
}

void
public_proof_end(PublicProof *proof, guint8 tag[static GENERATION_PROOF])
{
  G_STATIC_ASSERT(GENERATION_PROOF == crypto_onetimeauth_BYTES);
  crypto_onetimeauth_final(proof, tag);
}

/* ---- reading a content for its hash and its proof ---- */

typedef struct {
  XXH3_state_t *hash;
  PublicProof proof;
  gboolean proves;
} Reading;

static void
reading_begin(Reading *reading, const guint8 *salt)
{
  *reading = (Reading){.hash = XXH3_createState(), .proves = salt != NULL};
  XXH3_128bits_reset(reading->hash);
  if (salt)
    public_proof_begin(&reading->proof, salt);
}

static void
reading_add(const guint8 *bytes, guint64 length, gpointer user_data)
{
  static const guint8 zeros[64 << 10];
  Reading *reading = user_data;
  if (reading->proves)
    public_proof_add(&reading->proof, bytes, length);
  if (bytes)
    XXH3_128bits_update(reading->hash, bytes, length);
  for (; !bytes && length > 0; length -= MIN(length, sizeof zeros))
    XXH3_128bits_update(reading->hash, zeros, MIN(length, sizeof zeros));
}

static void
reading_end(Reading *reading, guint8 hash[static GENERATION_CONTENT_HASH])
{
  XXH128_canonicalFromHash((XXH128_canonical_t *)hash, XXH3_128bits_digest(reading->hash));
  XXH3_freeState(reading->hash);
}

/* All of a file, through `reading`. 0, or an errno. */
static int
read_through(int fd, Reading *reading)
{
  enum { PIECE = 256 << 10 };
  g_autofree guint8 *buffer = g_malloc(PIECE);
  for (guint64 offset = 0;;) {
    ssize_t got = pread(fd, buffer, PIECE, offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got < 0 ? errno : 0;
    reading_add(buffer, got, reading);
    offset += got;
  }
}

/* The content of `from` into `to`, which is empty, and through `reading`: shared where the file system can;
 * what is read then is what `to` has. 0, or an errno. */
static int
copy_through(int from, int to, guint64 size, Reading *reading)
{
  if (ioctl(to, FICLONE, from) == 0)
    return ftruncate(to, size) < 0 ? errno : read_through(to, reading);
  if (ftruncate(to, size) < 0)
    return errno;
  return generation_copy_range(from, 0, to, 0, size, reading_add, reading);
}

/* ---- contents ---- */

static void
place_of(const guint8 hash[static GENERATION_CONTENT_HASH], char place[static PLACE])
{
  char hex[HEX + 1];
  sodium_bin2hex(hex, sizeof hex, hash, GENERATION_CONTENT_HASH);
  g_snprintf(place, PLACE, CONTENTS "/%.2s/%s", hex, hex + 2);
}

static gboolean
make_directory(int base, const char *name, GError **error)
{
  return mkdirat(base, name, 0700) == 0 || errno == EEXIST ||
         doppel_error_errno(error, "cannot make the directory %s of the public base", name);
}

gboolean
public_base_prepare(int base, GError **error)
{
  if (!make_directory(base, CONTENTS, error) || !make_directory(base, NEW, error))
    return FALSE;
  for (guint i = 0; i < 256; i++) {
    char name[sizeof CONTENTS + 3];
    g_snprintf(name, sizeof name, CONTENTS "/%02x", i);
    if (!make_directory(base, name, error))
      return FALSE;
  }
  return TRUE;
}

int
public_base_open(int base, const guint8 hash[static GENERATION_CONTENT_HASH])
{
  char place[PLACE];
  place_of(hash, place);
  return openat(base, place, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static gboolean
has_size(int fd, guint64 size)
{
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (guint64)status.st_size == size;
}

int
public_base_take(int base, const GenerationStep *step, int directory, const char *name, gboolean *right)
{
  guint8 hash[GENERATION_CONTENT_HASH], proof[GENERATION_PROOF];
  Reading reading;
  *right = FALSE;
  unlinkat(directory, name, 0);
  g_auto(Fd) from = base < 0 ? -1 : public_base_open(base, step->hash);
  if (from < 0 || !has_size(from, step->facts.size))
    return 0;
  g_auto(Fd) to = openat(directory, name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (to < 0)
    return errno;
  reading_begin(&reading, step->salt);
  int failure = copy_through(from, to, step->facts.size, &reading);
  reading_end(&reading, hash);
  public_proof_end(&reading.proof, proof);
  if (failure == EIO || failure == ENODATA) /* of the base's disk, or cut short meanwhile */
    return 0;
  *right = !failure && memcmp(hash, step->hash, sizeof hash) == 0 &&
           sodium_memcmp(proof, step->proof, sizeof proof) == 0;
  return failure;
}

gboolean
public_base_check(int base, const guint8 hash[static GENERATION_CONTENT_HASH], guint64 size)
{
  guint8 found[GENERATION_CONTENT_HASH];
  Reading reading;
  g_auto(Fd) fd = public_base_open(base, hash);
  if (fd < 0 || !has_size(fd, size))
    return FALSE;
  reading_begin(&reading, NULL);
  int failure = read_through(fd, &reading);
  reading_end(&reading, found);
  return !failure && memcmp(found, hash, sizeof found) == 0;
}

/* A copy of the content as FRESH. 0, or an errno. */
static int
copy_fresh(int base, int from, guint64 size, guint8 hash[static GENERATION_CONTENT_HASH])
{
  Reading reading;
  unlinkat(base, FRESH, 0);
  g_auto(Fd) to = openat(base, FRESH, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0400);
  if (to < 0)
    return errno;
  reading_begin(&reading, NULL);
  int failure = copy_through(from, to, size, &reading);
  reading_end(&reading, hash);
  return failure;
}

/* What is there already, and whole, need not be written to be known. */
static gboolean
has_already(int base, int from, guint64 size, guint8 hash[static GENERATION_CONTENT_HASH])
{
  Reading reading;
  reading_begin(&reading, NULL);
  int failure = read_through(from, &reading);
  reading_end(&reading, hash);
  return !failure && public_base_check(base, hash, size);
}

gboolean
public_base_put(int base, int from, guint8 hash[static GENERATION_CONTENT_HASH], guint64 *size,
                gboolean *fresh, GError **error)
{
  struct stat status;
  char place[PLACE];
  if (fstat(from, &status) < 0)
    return doppel_error_errno(error, "a file cannot be looked at");
  *size = status.st_size;
  *fresh = FALSE;
  if (*size < PUBLIC_BASE_MIN || has_already(base, from, *size, hash))
    return TRUE;
  int failure = copy_fresh(base, from, *size, hash);
  if (failure == ENODATA) { /* shorter by now: somebody writes to it, and nobody else has it like this */
    *size = 0;
    return TRUE;
  }
  errno = failure;
  if (failure)
    return doppel_error_errno(error, "cannot copy a file into the public base");
  place_of(hash, place);
  *fresh = !public_base_check(base, hash, *size);
  if (*fresh ? renameat(base, FRESH, base, place) < 0 : unlinkat(base, FRESH, 0) < 0)
    return doppel_error_errno(error, "cannot put a file in its place in the public base");
  return TRUE;
}

gboolean
public_base_flush(int base, GError **error)
{
  return syncfs(base) == 0 || doppel_error_errno(error, "cannot bring the public base to the disk");
}

gboolean
public_base_remove(int base, const guint8 hash[static GENERATION_CONTENT_HASH], GError **error)
{
  char place[PLACE];
  place_of(hash, place);
  return unlinkat(base, place, 0) == 0 || errno == ENOENT ||
         doppel_error_errno(error, "cannot remove %s of the public base", place);
}

/* What else might be there is none of the base's, and is left alone. */
static void
list_directory(DIR *listing, const char *first, PublicBaseEach each, gpointer user_data)
{
  guint8 hash[GENERATION_CONTENT_HASH];
  for (struct dirent *entry; (entry = readdir(listing));) {
    gsize length = 0;
    g_autofree char *hex = g_strconcat(first, entry->d_name, NULL);
    if (strlen(hex) == HEX && sodium_hex2bin(hash, sizeof hash, hex, HEX, NULL, &length, NULL) == 0 &&
        length == sizeof hash)
      each(user_data, hash);
  }
}

gboolean
public_base_list(int base, PublicBaseEach each, gpointer user_data, GError **error)
{
  for (guint i = 0; i < 256; i++) {
    char name[sizeof CONTENTS + 3];
    g_snprintf(name, sizeof name, CONTENTS "/%02x", i);
    Fd fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (!listing && errno != ENOENT) {
      doppel_error_errno(error, "cannot list %s of the public base", name);
      io_close(&fd);
      return FALSE;
    }
    if (listing) {
      list_directory(listing, name + sizeof CONTENTS, each, user_data);
      closedir(listing);
    }
  }
  return TRUE;
}

/* ---- what is told ---- */

int
public_base_open_set(int base, guint64 *length)
{
  struct stat status;
  g_auto(Fd) fd = openat(base, PUBLIC_BASE_SET, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size == 0 ||
      status.st_size > PUBLIC_SET_PACKED_MAX)
    return -1;
  *length = status.st_size;
  return io_steal_fd(&fd);
}

GBytes *
public_base_read_set(int fd)
{
  struct stat status;
  if (fstat(fd, &status) < 0 || status.st_size > PUBLIC_SET_PACKED_MAX || lseek(fd, 0, SEEK_SET) < 0)
    return NULL;
  guint8 *bytes = g_malloc(MAX(status.st_size, 1));
  g_autoptr(GBytes) told = g_bytes_new_take(bytes, status.st_size);
  if (io_read_all(fd, bytes, status.st_size) != status.st_size)
    return NULL;
  g_autoptr(PublicSet) set = public_set_unpack(told, NULL);
  return set ? g_steal_pointer(&told) : NULL;
}

gboolean
public_base_tell(int base, guint64 *keys, gsize count, GError **error)
{
  static const char fresh[] = NEW "/set";
  g_autoptr(GBytes) packed = public_set_pack(keys, count);
  gsize length;
  const void *bytes = g_bytes_get_data(packed, &length);
  unlinkat(base, fresh, 0);
  g_auto(Fd) fd = openat(base, fresh, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0 || !io_write_all(fd, bytes, length) || fsync(fd) < 0 ||
      renameat(base, fresh, base, PUBLIC_BASE_SET) < 0 || fsync(base) < 0)
    return doppel_error_errno(error, "cannot write down what the public base has");
  return TRUE;
}
