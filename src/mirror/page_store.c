#include "mirror/page_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

/* The file: a page with the head; then sets, each a page with the table of its places, and the places. */
enum {
  WAYS =
      128, /* so many that sets fill evenly: of 128 places, about 100 are taken before the first is reused */
  SET_BYTES = COPIES_PAGE * (1 + WAYS),
  SETS_MAX = 1 << 24,
  USES_MAX = 8192, /* what is used more often between two commits is not noted */
  VERSION = 1,
  LOCK_TRIES = 50, /* of a millisecond: the lock is held that long only by who is stopped */
  ATTACH_TRIES = 4,
};

static const char magic[8] = "doppelPS";
static const char file_name[] = "pages";

typedef struct {
  char magic[sizeof magic];
  guint32 version, sets;
  guint8 identity[PAGE_STORE_IDENTITY];
  guint8 seal[16]; /* of all before it */
} Head;

/* A place. No seal is needed: a wrong key leads to a page whose hash is another. */
typedef struct {
  PageKey key;
  guint64 used; /* counts uses within the set; 0: free */
} Place;

G_STATIC_ASSERT(sizeof(Place) * WAYS <= COPIES_PAGE);

typedef struct {
  PageKey key;
  guint8 page[COPIES_PAGE];
} Pending;

struct PageStore {
  int directory, fd;
  guint32 sets; /* at most; the file's own are in the head */
  Head head;
  GHashTable *pending; /* PageKey → Pending, which begins with it */
  GArray *uses;        /* of PageKey */
  gboolean stuck;      /* the file could not be attached since the last commit: not waited for again */
};

static guint
hash_key(gconstpointer key)
{
  guint hash;
  memcpy(&hash, key, sizeof hash);
  return hash;
}

static gboolean
equal_keys(gconstpointer a, gconstpointer b)
{
  return page_key_equal(a, b);
}

/* ---- the file ---- */

static gboolean
read_at(int fd, void *bytes, gsize length, off_t offset)
{
  ssize_t got;
  do
    got = pread(fd, bytes, length, offset);
  while (got < 0 && errno == EINTR);
  return got == length;
}

static gboolean
write_at(int fd, const void *bytes, gsize length, off_t offset)
{
  ssize_t put;
  do
    put = pwrite(fd, bytes, length, offset);
  while (put < 0 && errno == EINTR);
  if (put >= 0 && put != length)
    errno = ENOSPC;
  return put == length;
}

static off_t
file_bytes(guint32 sets)
{
  return COPIES_PAGE + (off_t)sets * SET_BYTES;
}

static void
seal_head(const Head *head, guint8 seal[static sizeof head->seal])
{
  crypto_generichash(seal, sizeof head->seal, (const guint8 *)head, G_STRUCT_OFFSET(Head, seal), NULL, 0);
}

/* FALSE: there is none, or it is damaged. */
static gboolean
read_head(int fd, Head *head)
{
  guint8 seal[sizeof head->seal];
  if (!read_at(fd, head, sizeof *head, 0))
    return FALSE;
  seal_head(head, seal);
  return memcmp(seal, head->seal, sizeof seal) == 0 && memcmp(head->magic, magic, sizeof magic) == 0 &&
         head->version == VERSION && head->sets > 0 && head->sets <= SETS_MAX;
}

static gboolean
begin_anew(int fd, guint32 sets)
{
  Head head = {.version = VERSION, .sets = sets};
  memcpy(head.magic, magic, sizeof magic);
  randombytes_buf(head.identity, sizeof head.identity);
  seal_head(&head, head.seal);
  return ftruncate(fd, 0) == 0 && write_at(fd, &head, sizeof head, 0);
}

static gboolean
lock_file(int fd, int how)
{
  for (guint tries = 0; tries < LOCK_TRIES; tries++) {
    if (flock(fd, how | LOCK_NB) == 0)
      return TRUE;
    if (errno != EWOULDBLOCK && errno != EINTR)
      return FALSE;
    g_usleep(1000);
  }
  return FALSE;
}

static gboolean
open_file(PageStore *store)
{
  struct stat status;
  io_close(&store->fd);
  store->fd =
      openat(store->directory, file_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (store->fd < 0 || fstat(store->fd, &status) < 0)
    return FALSE;
  if (!S_ISREG(status.st_mode) || status.st_uid != geteuid()) {
    errno = EPERM;
    return FALSE;
  }
  return (status.st_mode & 07777) == 0600 || fchmod(store->fd, 0600) == 0;
}

/* Has the file a good head, of as many sets as were asked for? With `smaller`, which another store asked for
 * meanwhile, fewer will do. */
static gboolean
is_usable(PageStore *store, gboolean smaller)
{
  Head head;
  struct stat status;
  if (!read_head(store->fd, &head) || head.sets > store->sets || (head.sets < store->sets && !smaller))
    return FALSE;
  if (fstat(store->fd, &status) < 0)
    return FALSE;
  if (status.st_size > file_bytes(head.sets) && ftruncate(store->fd, file_bytes(head.sets)) < 0)
    return FALSE;
  store->head = head;
  return TRUE;
}

static gboolean
is_removed(int fd)
{
  struct stat status;
  return fd < 0 || fstat(fd, &status) < 0 || status.st_nlink == 0;
}

/* Makes the file fit for writing and takes the lock that writers share; only who begins it anew is alone. */
static gboolean
attach(PageStore *store, gboolean smaller)
{
  for (guint tries = 0; tries < ATTACH_TRIES; tries++) {
    if (is_removed(store->fd) && !open_file(store))
      return FALSE;
    if (!lock_file(store->fd, LOCK_SH))
      return FALSE;
    if (!is_removed(store->fd) && is_usable(store, smaller))
      return TRUE;
    flock(store->fd, LOCK_UN);
    if (!lock_file(store->fd, LOCK_EX))
      return FALSE;
    gboolean made = is_removed(store->fd) || is_usable(store, smaller) || begin_anew(store->fd, store->sets);
    int problem = errno;
    flock(store->fd, LOCK_UN);
    errno = problem;
    if (!made)
      return FALSE;
  }
  errno = EBUSY; /* others remove it as fast as it is made */
  return FALSE;
}

static void
detach(PageStore *store)
{
  flock(store->fd, LOCK_UN);
}

/* ---- sets ---- */

static off_t
set_offset(const PageStore *store, const PageKey *key)
{
  guint64 number;
  memcpy(&number, key, sizeof number);
  return file_bytes(number % store->head.sets);
}

static off_t
page_offset(off_t set, guint way)
{
  return set + (off_t)COPIES_PAGE * (1 + way);
}

/* What the file does not have (it grows with what is written) is free. */
static gboolean
read_set(const PageStore *store, off_t set, Place places[static WAYS])
{
  ssize_t got;
  do
    got = pread(store->fd, places, WAYS * sizeof *places, set);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return FALSE;
  memset((guint8 *)places + got, 0, WAYS * sizeof *places - got);
  return TRUE;
}

/* WAYS: not there. */
static guint
find_place(const Place places[static WAYS], const PageKey *key)
{
  guint way = 0;
  while (way < WAYS && !(places[way].used && page_key_equal(&places[way].key, key)))
    way++;
  return way;
}

static guint
oldest_place(const Place places[static WAYS])
{
  guint oldest = 0;
  for (guint way = 1; way < WAYS; way++)
    if (places[way].used < places[oldest].used)
      oldest = way;
  return oldest;
}

/* Has a quarter of the set been used since? To note each use would be a write per page. */
static gboolean
is_ageing(const Place places[static WAYS], guint way)
{
  guint younger = 0;
  for (guint i = 0; i < WAYS; i++)
    younger += places[i].used > places[way].used;
  return younger > WAYS / 4;
}

static gboolean
write_place(PageStore *store, off_t set, Place places[static WAYS], guint way)
{
  guint64 latest = 0;
  for (guint i = 0; i < WAYS; i++)
    latest = MAX(latest, places[i].used);
  if (latest == G_MAXUINT64) { /* only damage counts so far: all are equally old then */
    for (guint i = 0; i < WAYS; i++)
      places[i].used = MIN(places[i].used, 1);
    places[way].used = 2;
    return write_at(store->fd, places, WAYS * sizeof *places, set);
  }
  places[way].used = latest + 1;
  return write_at(store->fd, &places[way], sizeof places[way], set + way * sizeof places[way]);
}

/* Under the writers' lock. FALSE: the disk takes no more. */
static gboolean
write_page(PageStore *store, const Pending *pending)
{
  Place places[WAYS];
  off_t set = set_offset(store, &pending->key);
  if (!read_set(store, set, places))
    return FALSE;
  guint way = find_place(places, &pending->key);
  if (way == WAYS)
    way = oldest_place(places);
  places[way].key = pending->key;
  return write_at(store->fd, pending->page, COPIES_PAGE, page_offset(set, way)) &&
         write_place(store, set, places, way);
}

static void
write_use(PageStore *store, const PageKey *key)
{
  Place places[WAYS];
  off_t set = set_offset(store, key);
  guint way = read_set(store, set, places) ? find_place(places, key) : WAYS;
  if (way < WAYS)
    write_place(store, set, places, way);
}

static void
drop_page(PageStore *store, const PageKey *key)
{
  Place places[WAYS];
  if (store->stuck || (store->stuck = !attach(store, TRUE)))
    return;
  off_t set = set_offset(store, key);
  guint way = read_set(store, set, places) ? find_place(places, key) : WAYS;
  if (way < WAYS)
    write_at(store->fd, &(Place){0}, sizeof(Place), set + way * sizeof(Place));
  detach(store);
}

/* ---- the store ---- */

static gboolean
open_directory(PageStore *store, const char *directory, GError **error)
{
  struct stat status;
  if (g_mkdir_with_parents(directory, 0700) < 0)
    return doppel_error_errno(error, "cannot make the directory %s", directory);
  store->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store->directory < 0 || fstat(store->directory, &status) < 0)
    return doppel_error_errno(error, "cannot open the directory %s", directory);
  if (status.st_uid != geteuid())
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the directory %s belongs to somebody else: no pages are kept there", directory);
  if ((status.st_mode & 07777) != 0700 && fchmod(store->directory, 0700) < 0)
    return doppel_error_errno(error, "cannot make the directory %s private", directory);
  return TRUE;
}

static gboolean
choose_size(PageStore *store, guint64 bytes_max, GError **error)
{
  struct rlimit limit;
  guint64 sets = bytes_max > COPIES_PAGE ? (bytes_max - COPIES_PAGE) / SET_BYTES : 0;
  store->sets = MIN(sets, SETS_MAX);
  if (!store->sets)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "a cache of pages needs at least %" G_GINT64_FORMAT " bytes",
                            (gint64)file_bytes(1));
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < file_bytes(store->sets))
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "a cache of pages would be larger than files may be here (ulimit -f)");
  return TRUE;
}

PageStore *
page_store_open(const char *directory, guint64 bytes_max, GError **error)
{
  g_autoptr(PageStore) store = g_new0(PageStore, 1);
  store->directory = store->fd = -1;
  store->pending = g_hash_table_new_full(hash_key, equal_keys, NULL, g_free);
  store->uses = g_array_new(FALSE, FALSE, sizeof(PageKey));
  if (sodium_init() < 0) /* chooses the fastest BLAKE2b */
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "libsodium cannot be used"), NULL;
  if (!choose_size(store, bytes_max, error) || !open_directory(store, directory, error))
    return NULL;
  if (!attach(store, FALSE))
    return doppel_error_errno(error, "cannot keep pages in %s", directory), NULL;
  detach(store);
  return g_steal_pointer(&store);
}

void
page_store_close(PageStore *store)
{
  if (!store)
    return;
  page_store_commit(store);
  io_close(&store->fd);
  io_close(&store->directory);
  g_hash_table_unref(store->pending);
  g_array_unref(store->uses);
  g_free(store);
}

const guint8 *
page_store_identity(const PageStore *store)
{
  return store->head.identity;
}

gboolean
page_store_get(PageStore *store, const PageKey *key, guint8 page[static COPIES_PAGE])
{
  Place places[WAYS];
  PageKey is;
  const Pending *pending = g_hash_table_lookup(store->pending, key);
  off_t set = set_offset(store, key);
  guint way = pending || !read_set(store, set, places) ? WAYS : find_place(places, key);
  if (pending)
    memcpy(page, pending->page, COPIES_PAGE);
  else if (way == WAYS)
    return FALSE;
  else if (!read_at(store->fd, page, COPIES_PAGE, page_offset(set, way)))
    memset(page, 0, COPIES_PAGE);
  page_key(page, &is);
  if (!page_key_equal(&is, key)) {
    if (pending)
      g_hash_table_remove(store->pending, key);
    else
      drop_page(store, key);
    return FALSE;
  }
  if (!pending && store->uses->len < USES_MAX && is_ageing(places, way))
    g_array_append_val(store->uses, *key);
  return TRUE;
}

void
page_store_put(PageStore *store, const PageKey *key, const guint8 page[static COPIES_PAGE])
{
  if (g_hash_table_size(store->pending) >= PAGE_STORE_PENDING)
    page_store_commit(store);
  Pending *pending = g_new(Pending, 1);
  pending->key = *key;
  memcpy(pending->page, page, COPIES_PAGE);
  g_hash_table_replace(store->pending, &pending->key, pending);
}

void
page_store_commit(PageStore *store)
{
  if (!g_hash_table_size(store->pending) && !store->uses->len)
    return;
  store->stuck = !attach(store, TRUE);
  if (!store->stuck) {
    GHashTableIter iter;
    gpointer pending;
    gboolean takes = TRUE;
    for (guint i = 0; i < store->uses->len; i++)
      write_use(store, &g_array_index(store->uses, PageKey, i));
    g_hash_table_iter_init(&iter, store->pending);
    while (takes && g_hash_table_iter_next(&iter, NULL, &pending))
      takes = write_page(store, pending);
    detach(store);
  }
  g_hash_table_remove_all(store->pending);
  g_array_set_size(store->uses, 0);
}
