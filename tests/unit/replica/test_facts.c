/* Facts, hashes, paths and messages: small things, and what hostile bytes get. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/check.h"
#include "replica/message.h"
#include "replica/pack.h"
#include "replica/path.h"
#include "replica/xattrs.h"

typedef struct {
  char *path;
  Fd fd;
} Tree;

static void
tree_set_up(Tree *tree, gconstpointer unused)
{
  tree->path = g_dir_make_tmp("doppel-facts-XXXXXX", NULL);
  tree->fd = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint(tree->fd, >=, 0);
}

static void
tree_tear_down(Tree *tree, gconstpointer unused)
{
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", tree->path);
  g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
  io_close(&tree->fd);
  g_free(tree->path);
}

static void
put(Tree *tree, const char *name, const char *text)
{
  g_auto(Fd) fd = openat(tree->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  g_assert_true(fd >= 0 && io_write_all(fd, text, strlen(text)));
}

static void
test_read(Tree *tree, gconstpointer unused)
{
  put(tree, "file", "content");
  g_assert_cmpint(mkdirat(tree->fd, "dir", 0711), ==, 0);
  g_assert_cmpint(symlinkat("dir", tree->fd, "link"), ==, 0);
  put(tree, "dir/in", "");
  g_assert_cmpint(mkfifoat(tree->fd, "fifo", 0600), ==, 0);
  g_auto(ReplicaFacts) file = {0}, dir = {0}, link = {0}, in = {0}, fifo = {0}, none = {0};
  g_assert_cmpint(replica_facts_read(tree->fd, "file", REPLICA_READ_HASH, NULL, &file), ==, 0);
  g_assert_cmpint(file.type, ==, REPLICA_FILE);
  g_assert_cmpuint(file.size, ==, 7);
  g_assert_cmpuint(file.mode, ==, 0640);
  guint8 hash[REPLICA_HASH_SIZE];
  crypto_generichash(hash, sizeof hash, (const guint8 *)"content", 7, NULL, 0);
  g_assert_cmpmem(file.hash, sizeof file.hash, hash, sizeof hash);
  g_assert_cmpint(replica_facts_read(tree->fd, "dir", 0, NULL, &dir), ==, 0);
  g_assert_cmpuint(dir.mode, ==, 0711);
  g_assert_cmpint(replica_facts_read(tree->fd, "link", 0, NULL, &link), ==, 0);
  g_assert_cmpint(link.type, ==, REPLICA_SYMLINK);
  g_assert_cmpstr(link.target, ==, "dir");
  g_assert_cmpint(replica_facts_read(tree->fd, "fifo", REPLICA_READ_HASH, NULL, &fifo), ==, 0);
  g_assert_cmpint(fifo.type, ==, REPLICA_FIFO);
  g_assert_cmpint(replica_facts_read(tree->fd, "link/in", 0, NULL, &in), ==, ELOOP);
  g_assert_cmpint(replica_facts_read(tree->fd, "link/in", REPLICA_READ_FOLLOW, NULL, &in), ==, 0);
  g_assert_cmpint(replica_facts_read(tree->fd, "nothing", 0, NULL, &none), ==, ENOENT);
  g_assert_cmpint(none.type, ==, REPLICA_ABSENT);
  g_assert_cmpint(replica_facts_read(tree->fd, "../etc", 0, NULL, &none), ==, EINVAL);
}

/* Absolute links and ".." in links stay inside the root. */
static void
test_escape(Tree *tree, gconstpointer unused)
{
  g_assert_cmpint(symlinkat("/", tree->fd, "top"), ==, 0);
  g_assert_cmpint(symlinkat("../../../../..", tree->fd, "up"), ==, 0);
  put(tree, "here", "");
  g_auto(ReplicaFacts) facts = {0};
  g_assert_cmpint(replica_facts_read(tree->fd, "top/here", REPLICA_READ_FOLLOW, NULL, &facts), ==, 0);
  replica_facts_clear(&facts);
  g_assert_cmpint(replica_facts_read(tree->fd, "up/here", REPLICA_READ_FOLLOW, NULL, &facts), ==, 0);
  replica_facts_clear(&facts);
  g_assert_cmpint(replica_facts_read(tree->fd, "top/etc", REPLICA_READ_FOLLOW, NULL, &facts), ==, ENOENT);
}

static void
test_pseudo(void)
{
  g_auto(Fd) root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_auto(ReplicaFacts) facts = {0};
  g_assert_cmpint(
      replica_facts_read(root, "proc/version", REPLICA_READ_PSEUDO | REPLICA_READ_HASH, NULL, &facts), ==, 0);
  g_assert_true(facts.pseudo);
  g_assert_false(facts.hashed);
  g_assert_cmpint(replica_check(&facts, 0, &facts, 0, 0), ==, REPLICA_CHECK_DEVICE_ONLY);
}

static void
test_xattrs(Tree *tree, gconstpointer unused)
{
  put(tree, "a", "");
  put(tree, "b", "");
  g_autofree char *a = g_build_filename(tree->path, "a", NULL);
  if (setxattr(a, "user.z", "1", 1, 0) < 0) {
    g_test_skip("no extended attributes here");
    return;
  }
  g_assert_cmpint(setxattr(a, "user.a", "\0long", 5, 0), ==, 0);
  g_assert_cmpint(setxattr(a, "user.overlay.origin", "", 0, 0), ==, 0);
  g_auto(ReplicaFacts) from = {0}, to = {0};
  g_assert_cmpint(replica_facts_read(tree->fd, "a", 0, NULL, &from), ==, 0);
  g_assert_cmpint(replica_facts_set(tree->fd, "b", &from, REPLICA_FACT_METADATA), ==, 0);
  g_assert_cmpint(replica_facts_read(tree->fd, "b", 0, NULL, &to), ==, 0);
  g_assert_true(replica_facts_equal(&from, &to, REPLICA_FACT_ALL));
  g_autofree char *b = g_build_filename(tree->path, "b", NULL);
  g_assert_cmpint(getxattr(b, "user.overlay.origin", NULL, 0), <, 0);
  gsize length;
  const guint8 *data = g_bytes_get_data(from.xattrs, &length);
  gboolean valid;
  g_autoptr(GBytes) parsed = replica_xattrs_parse(data, length, FALSE, &valid);
  g_assert_true(valid && replica_xattrs_equal(parsed, from.xattrs));
  for (gsize cut = 1; cut < length; cut++) {
    GBytes *part = replica_xattrs_parse(data, cut, FALSE, &valid);
    g_assert_true(!valid || part); /* a cut between two attributes leaves a set */
    g_clear_pointer(&part, g_bytes_unref);
  }
  g_assert_cmpint(setxattr(b, "user.more", "x", 1, 0), ==, 0);
  g_assert_cmpint(
      replica_facts_set(tree->fd, "b", &(ReplicaFacts){.type = REPLICA_FILE}, REPLICA_FACT_XATTRS), ==, 0);
  replica_facts_clear(&to);
  g_assert_cmpint(replica_facts_read(tree->fd, "b", 0, NULL, &to), ==, 0);
  g_assert_null(to.xattrs);
}

/* Who keeps a file keeps all of them, of a link as well; what programs work with has only those that are
 * theirs, and takes no others from anybody. */
static void
test_all_xattrs(Tree *tree, gconstpointer unused)
{
  put(tree, "a", "");
  put(tree, "b", "");
  g_autofree char *a = g_build_filename(tree->path, "a", NULL), *l = g_build_filename(tree->path, "l", NULL);
  g_autofree char *b = g_build_filename(tree->path, "b", NULL);
  g_assert_cmpint(symlink("a", l), ==, 0);
  if (setxattr(a, "trusted.one", "1", 1, 0) < 0 || setxattr(a, "user.z", "2", 1, 0) < 0 ||
      lsetxattr(l, "trusted.two", "3", 1, 0) < 0) {
    g_test_skip("not allowed to set such attributes here");
    return;
  }
  const guint all = REPLICA_FACT_METADATA | REPLICA_FACT_ALL_XATTRS;
  g_auto(ReplicaFacts) kept = {0}, used = {0}, link = {0}, there = {0};
  gboolean valid;
  gsize length;
  g_assert_cmpint(setxattr(a, "trusted.overlay.origin", "", 0, 0), ==, 0);
  g_assert_cmpint(replica_facts_read(tree->fd, "a", REPLICA_READ_ALL, NULL, &kept), ==, 0);
  g_assert_cmpint(replica_facts_read(tree->fd, "a", 0, NULL, &used), ==, 0);
  g_assert_cmpint(replica_facts_read(tree->fd, "l", REPLICA_READ_ALL, NULL, &link), ==, 0);
  g_assert_nonnull(link.xattrs);
  g_assert_false(replica_xattrs_equal(kept.xattrs, used.xattrs));
  g_assert_cmpint(replica_facts_set(tree->fd, "b", &kept, all), ==, 0);
  g_assert_cmpint(getxattr(b, "trusted.overlay.origin", NULL, 0), <, 0);
  /* What is not one's own business stays as it is. */
  g_assert_cmpint(replica_facts_set(tree->fd, "b", &used, REPLICA_FACT_METADATA), ==, 0);
  g_assert_cmpint(replica_facts_read(tree->fd, "b", REPLICA_READ_ALL, NULL, &there), ==, 0);
  g_assert_true(replica_xattrs_equal(kept.xattrs, there.xattrs));
  const guint8 *data = g_bytes_get_data(kept.xattrs, &length);
  g_assert_null(replica_xattrs_parse(data, length, FALSE, &valid));
  g_assert_false(valid);
  g_autoptr(GBytes) parsed = replica_xattrs_parse(data, length, TRUE, &valid);
  g_assert_true(valid && replica_xattrs_equal(parsed, kept.xattrs));
}

static void
age(Tree *tree, const char *name)
{
  /* Longer than a tick, so that the file is not racy. */
  struct stat st;
  g_assert_cmpint(fstatat(tree->fd, name, &st, 0), ==, 0);
  g_usleep(30000);
}

static void
hash_of(Tree *tree, ReplicaHashes *hashes, const char *name, guint8 hash[REPLICA_HASH_SIZE])
{
  g_auto(ReplicaFacts) facts = {0};
  g_assert_cmpint(replica_facts_read(tree->fd, name, REPLICA_READ_HASH, hashes, &facts), ==, 0);
  memcpy(hash, facts.hash, REPLICA_HASH_SIZE);
}

static void
assert_counts(ReplicaHashes *hashes, guint64 found, guint64 computed)
{
  guint64 has_found, has_computed;
  replica_hashes_count(hashes, &has_found, &has_computed);
  g_assert_cmpuint(has_found, ==, found);
  g_assert_cmpuint(has_computed, ==, computed);
}

static void
test_cache(Tree *tree, gconstpointer unused)
{
  g_autofree char *path = g_build_filename(tree->path, "cache.db", NULL);
  guint8 first[REPLICA_HASH_SIZE], second[REPLICA_HASH_SIZE];
  gint64 made = g_get_monotonic_time();
  put(tree, "file", "one");
  {
    g_autoptr(ReplicaHashes) hashes = replica_hashes_open(path);
    hash_of(tree, hashes, "file", first);
    hash_of(tree, hashes, "file", second); /* racy still: it was made just now, */
    gboolean slow = g_get_monotonic_time() - made > 2000;
    guint64 found, computed;
    if (!slow) /* unless this machine took its time */
      assert_counts(hashes, 0, 2);
    age(tree, "file");
    hash_of(tree, hashes, "file", second);
    replica_hashes_count(hashes, &found, &computed);
    hash_of(tree, hashes, "file", second);
    assert_counts(hashes, found + 1, computed);
  }
  g_autoptr(ReplicaHashes) hashes = replica_hashes_open(path);
  hash_of(tree, hashes, "file", second);
  assert_counts(hashes, 1, 0);
  g_assert_cmpmem(first, sizeof first, second, sizeof second);
  put(tree, "file", "two");
  hash_of(tree, hashes, "file", second);
  assert_counts(hashes, 1, 1);
  g_assert_cmpint(memcmp(first, second, sizeof first), !=, 0);
}

/* Whatever happens to the cache's bytes, the hashes that come out are right. */
static void
test_cache_damaged(Tree *tree, gconstpointer unused)
{
  g_autofree char *path = g_build_filename(tree->path, "cache.db", NULL);
  g_autoptr(GRand) rand = g_rand_new_with_seed(7);
  guint8 right[REPLICA_HASH_SIZE], hash[REPLICA_HASH_SIZE];
  put(tree, "file", "content");
  age(tree, "file");
  hash_of(tree, NULL, "file", right);
  for (guint i = 0; i < 60; i++) {
    {
      g_autoptr(ReplicaHashes) hashes = replica_hashes_open(path);
      hash_of(tree, hashes, "file", hash);
      g_assert_cmpmem(hash, sizeof hash, right, sizeof right);
    }
    g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    if (i % 10 == 9)
      g_assert_cmpint(ftruncate(fd, g_rand_int_range(rand, 0, st.st_size)), ==, 0);
    for (guint k = 0; k < 200; k++) {
      guint8 byte = g_rand_int(rand);
      g_assert_cmpint(pwrite(fd, &byte, 1, g_rand_int_range(rand, 0, st.st_size)), ==, 1);
    }
  }
}

typedef struct {
  const char *path;
  gboolean valid;
} PathRow;

static const PathRow path_rows[] = {
    {"a", TRUE},   {"a/b", TRUE},   {".a", TRUE},    {"..a", TRUE},    {"a/...", TRUE},   {"a b\xff", TRUE},
    {"", FALSE},   {"/", FALSE},    {"/a", FALSE},   {"a/", FALSE},    {"a//b", FALSE},   {".", FALSE},
    {"..", FALSE}, {"a/..", FALSE}, {"../a", FALSE}, {"a/./b", FALSE}, {"a/../b", FALSE},
};

static void
test_paths(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(path_rows); i++)
    g_assert_cmpint(replica_path_valid(path_rows[i].path, strlen(path_rows[i].path)), ==, path_rows[i].valid);
  g_assert_false(replica_path_valid("a\0b", 3));
  g_autofree char *name = g_strnfill(256, 'n');
  g_assert_false(replica_path_valid(name, 256));
  g_assert_true(replica_path_valid(name, 255));
  g_autofree char *deep = g_strnfill(5000, 'a');
  for (guint i = 1; i < 5000; i += 2)
    deep[i] = '/';
  g_assert_true(replica_path_valid(deep, 4095));
  g_assert_false(replica_path_valid(deep, 4097));
}

static void
test_facts_message(void)
{
  ReplicaFacts facts = {
      .type = REPLICA_SYMLINK, .mode = 0777, .uid = 1, .gid = 2, .mtime_ns = -5, .nlink = 3};
  facts.target = (char *)"to\xff";
  facts.dev = 66305;
  facts.ino = G_MAXUINT64;
  facts.ctime_ns = G_MAXINT64; /* the difference to the other time does not fit */
  facts.blocks = 8;
  g_autoptr(GBytes) packed = replica_facts_pack(&facts, 0);
  gsize length;
  const guint8 *data = g_bytes_get_data(packed, &length);
  g_auto(ReplicaFacts) back = {0};
  int failure = -1;
  g_autoptr(GError) error = NULL;
  g_assert_true(replica_facts_unpack(data, length, &back, &failure, &error));
  g_assert_cmpint(failure, ==, 0);
  g_assert_true(replica_facts_equal(&facts, &back, REPLICA_FACT_ALL | REPLICA_FACT_INODE));
  g_assert_cmpuint(back.nlink, ==, 3);
  g_assert_cmpuint(back.blocks, ==, 8);
  g_autoptr(GBytes) failed = replica_facts_pack(NULL, EACCES);
  data = g_bytes_get_data(failed, &length);
  replica_facts_clear(&back);
  g_assert_true(replica_facts_unpack(data, length, &back, &failure, &error));
  g_assert_cmpint(failure, ==, EACCES);
}

static void
test_facts_hostile(void)
{
  static const ReplicaFacts bad[] = {
      {.type = REPLICA_BLOCK_DEVICE + 1},
      {.type = REPLICA_FILE, .mode = 010000},
      {.type = REPLICA_FILE, .size = (guint64)G_MAXINT64 + 1},
      {.type = REPLICA_DIRECTORY, .size = 1},
      {.type = REPLICA_DIRECTORY, .target = (char *)"to"},
      {.type = REPLICA_SYMLINK},
      {.type = REPLICA_DIRECTORY, .hashed = TRUE},
  };
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    g_autoptr(GBytes) packed = replica_facts_pack(&bad[i], 0);
    gsize length;
    const guint8 *data = g_bytes_get_data(packed, &length);
    ReplicaFacts back;
    int failure;
    g_autoptr(GError) error = NULL;
    g_assert_false(replica_facts_unpack(data, length, &back, &failure, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
}

typedef struct {
  const char *why;
  ReplicaFacts device;
  int device_errno;
  ReplicaFacts clone;
  int clone_errno;
  guint flags;
  ReplicaVerdict verdict;
} CheckRow;

#define NS     123456789
#define A_FILE .type = REPLICA_FILE, .size = 5, .mode = 0644, .nlink = 1

static const CheckRow check_rows[] = {
    {"both absent", {0}, ENOENT, {0}, ENOENT, 0, REPLICA_CHECK_SAME},
    {"gone from the device", {0}, ENOENT, {A_FILE}, 0, 0, REPLICA_CHECK_REMOVE},
    {"unreadable there", {0}, EACCES, {A_FILE}, 0, 0, REPLICA_CHECK_DEVICE_ONLY},
    {"missing here", {A_FILE}, 0, {0}, ENOENT, 0, REPLICA_CHECK_PULL_CONTENT},
    {"empty and missing here", {.type = REPLICA_FILE}, 0, {0}, ENOENT, 0, REPLICA_CHECK_CREATE},
    {"equal", {A_FILE, .mtime_ns = NS}, 0, {A_FILE, .mtime_ns = NS}, 0, 0, REPLICA_CHECK_SAME},
    {"mode",
     {A_FILE, .mtime_ns = NS},
     0,
     {.type = REPLICA_FILE, .size = 5, .mtime_ns = NS},
     0,
     0,
     REPLICA_CHECK_FIX_METADATA},
    {"time", {A_FILE, .mtime_ns = NS}, 0, {A_FILE, .mtime_ns = NS + 1}, 0, 0, REPLICA_CHECK_PULL_CONTENT},
    {"size",
     {A_FILE, .mtime_ns = NS},
     0,
     {.type = REPLICA_FILE, .size = 6, .mtime_ns = NS},
     0,
     0,
     REPLICA_CHECK_PULL_CONTENT},
    {"a time that was written",
     {A_FILE, .mtime_ns = NS, .ctime_ns = NS},
     0,
     {A_FILE, .mtime_ns = NS, .ctime_ns = 7},
     0,
     0,
     REPLICA_CHECK_SAME},
    {"a time that was set",
     {A_FILE, .mtime_ns = NS, .ctime_ns = NS + 1},
     0,
     {A_FILE, .mtime_ns = NS, .ctime_ns = NS + 1},
     0,
     0,
     REPLICA_CHECK_NEED_HASH},
    {"a time that was set, hash equal",
     {A_FILE, .hashed = TRUE, .mtime_ns = NS, .ctime_ns = NS + 1},
     0,
     {A_FILE, .hashed = TRUE, .mtime_ns = NS},
     0,
     0,
     REPLICA_CHECK_SAME},
    {"a time that was set, trusted",
     {A_FILE, .mtime_ns = NS, .ctime_ns = NS + 1},
     0,
     {A_FILE, .mtime_ns = NS},
     0,
     REPLICA_CHECK_TRUST_TIMES,
     REPLICA_CHECK_SAME},
    {"whole seconds", {A_FILE}, 0, {A_FILE}, 0, 0, REPLICA_CHECK_NEED_HASH},
    {"whole seconds, trusted", {A_FILE}, 0, {A_FILE}, 0, REPLICA_CHECK_TRUST_TIMES, REPLICA_CHECK_SAME},
    {"hash equal, time not",
     {A_FILE, .hashed = TRUE},
     0,
     {A_FILE, .hashed = TRUE, .mtime_ns = 1},
     0,
     0,
     REPLICA_CHECK_FIX_METADATA},
    {"hash differs, time equal",
     {A_FILE, .hashed = TRUE, .hash = {1}, .mtime_ns = NS},
     0,
     {A_FILE, .hashed = TRUE, .mtime_ns = NS},
     0,
     0,
     REPLICA_CHECK_PULL_CONTENT},
    {"linked here only",
     {A_FILE, .mtime_ns = NS},
     0,
     {.type = REPLICA_FILE, .size = 5, .mode = 0644, .mtime_ns = NS, .nlink = 2},
     0,
     0,
     REPLICA_CHECK_PULL_CONTENT},
    {"another type", {.type = REPLICA_DIRECTORY}, 0, {A_FILE}, 0, 0, REPLICA_CHECK_CREATE},
    {"another target",
     {.type = REPLICA_SYMLINK, .target = (char *)"a"},
     0,
     {.type = REPLICA_SYMLINK, .target = (char *)"b"},
     0,
     0,
     REPLICA_CHECK_CREATE},
    {"a socket", {.type = REPLICA_SOCKET}, 0, {0}, ENOENT, 0, REPLICA_CHECK_DEVICE_ONLY},
    {"a FIFO", {.type = REPLICA_FIFO}, 0, {.type = REPLICA_FIFO}, 0, 0, REPLICA_CHECK_DEVICE_ONLY},
    {"/proc", {A_FILE, .pseudo = TRUE}, 0, {0}, ENOENT, 0, REPLICA_CHECK_DEVICE_ONLY},
    {"a directory's times",
     {.type = REPLICA_DIRECTORY, .mtime_ns = 1},
     0,
     {.type = REPLICA_DIRECTORY},
     0,
     0,
     REPLICA_CHECK_FIX_METADATA},
};

static void
test_check(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(check_rows); i++) {
    const CheckRow *row = &check_rows[i];
    ReplicaVerdict verdict =
        replica_check(&row->device, row->device_errno, &row->clone, row->clone_errno, row->flags);
    if (verdict != row->verdict)
      g_error("%s: verdict %d", row->why, verdict);
  }
}

static gboolean
take_nothing(const ReplicaPiece *piece, gpointer unused, GError **error)
{
  return TRUE;
}

static ReplicaFacts file_facts = {.type = REPLICA_FILE, .size = 10, .mode = 0644};
static ReplicaFacts directory_facts = {.type = REPLICA_DIRECTORY, .mode = 0755};
static ReplicaFacts device_facts = {.type = REPLICA_CHARACTER_DEVICE, .rdev = 0x103};

typedef struct {
  const char *why, *path, *from;
  ReplicaChange change;
  const ReplicaFacts *before, *source, *after;
  guint set;
} HostileRow;

static const HostileRow hostile_rows[] = {
    {"leaves the root", "../a", NULL, REPLICA_MAKE, NULL, NULL, &file_facts, REPLICA_FACT_SIZE},
    {"absolute", "/a", NULL, REPLICA_MAKE, NULL, NULL, &file_facts, REPLICA_FACT_SIZE},
    {"a device node", "a", NULL, REPLICA_MAKE, NULL, NULL, &device_facts, 0},
    {"the root removed", "", NULL, REPLICA_REMOVE, &directory_facts, NULL, NULL, 0},
    {"nothing removed", "a", NULL, REPLICA_REMOVE, NULL, NULL, NULL, 0},
    {"another type kept", "a", NULL, REPLICA_KEEP, &directory_facts, NULL, &file_facts, 0},
    {"content of a directory", "a", NULL, REPLICA_KEEP, &directory_facts, NULL, &directory_facts,
     REPLICA_FACT_SIZE},
    {"a directory moved", "a", "b", REPLICA_MOVE, NULL, &directory_facts, &directory_facts, 0},
    {"moved from nowhere", "a", NULL, REPLICA_MOVE, NULL, &file_facts, &file_facts, 0},
    {"moved to itself", "a", "a", REPLICA_MOVE, NULL, &file_facts, &file_facts, 0},
    {"moved from outside", "a", "../b", REPLICA_MOVE, NULL, &file_facts, &file_facts, 0},
    {"a link to a directory", "a", "b", REPLICA_LINK, NULL, NULL, &directory_facts, 0},
    {"an unknown change", "a", NULL, REPLICA_LINK + 1, NULL, NULL, &file_facts, 0},
    {"an unknown fact", "a", NULL, REPLICA_KEEP, &file_facts, NULL, &file_facts, 1 << 20},
};

static GBytes *
pack_entry(const HostileRow *row)
{
  Doppel__Wire__ReplicaFacts before, source, after;
  Doppel__Wire__ReplicaEntry entry = DOPPEL__WIRE__REPLICA_ENTRY__INIT, *entries[] = {&entry};
  const ReplicaFacts *facts[] = {row->before, row->source, row->after};
  Doppel__Wire__ReplicaFacts *messages[] = {&before, &source, &after};
  for (guint i = 0; i < 3; i++)
    if (facts[i])
      replica_facts_to_message(facts[i], messages[i]);
  entry.change = row->change;
  entry.path = replica_path_to_message(row->path);
  entry.from = replica_path_to_message(row->from);
  entry.before = row->before ? &before : NULL;
  entry.source = row->source ? &source : NULL;
  entry.after = row->after ? &after : NULL;
  entry.set = row->set;
  Doppel__Wire__ReplicaDeltaPart part = DOPPEL__WIRE__REPLICA_DELTA_PART__INIT;
  part.n_entries = 1;
  part.entries = entries;
  return replica_message_pack(&part.base);
}

static gboolean
push(ReplicaUnpacker *unpacker, GBytes *message, GError **error)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(message, &length);
  return replica_unpacker_push(unpacker, data, length, error);
}

static void
test_hostile_entries(void)
{
  for (guint i = 0; i < G_N_ELEMENTS(hostile_rows); i++) {
    g_autoptr(ReplicaUnpacker) unpacker = replica_unpacker_new(take_nothing, NULL);
    g_autoptr(GBytes) message = pack_entry(&hostile_rows[i]);
    g_autoptr(GError) error = NULL;
    if (push(unpacker, message, &error))
      g_error("%s was accepted", hostile_rows[i].why);
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
}

static GBytes *
pack_data(guint entry, guint64 offset, gsize length, guint64 zeros, gboolean end, guint entry_count,
          guint64 data_count)
{
  g_autofree guint8 *bytes = g_malloc0(length + 1);
  Doppel__Wire__ReplicaData data = DOPPEL__WIRE__REPLICA_DATA__INIT, *datas[] = {&data};
  data.entry = entry;
  data.offset = offset;
  data.bytes = (ProtobufCBinaryData){.data = bytes, .len = length};
  data.zeros = zeros;
  Doppel__Wire__ReplicaDeltaPart part = DOPPEL__WIRE__REPLICA_DELTA_PART__INIT;
  part.n_data = length || zeros ? 1 : 0;
  part.data = datas;
  part.end = end;
  part.entry_count = entry_count;
  part.data_count = data_count;
  return replica_message_pack(&part.base);
}

static void
assert_second_refused(GBytes *second)
{
  static const HostileRow good = {"", "m", NULL, REPLICA_MAKE, NULL, NULL, &file_facts, REPLICA_FACT_SIZE};
  g_autoptr(ReplicaUnpacker) unpacker = replica_unpacker_new(take_nothing, NULL);
  g_autoptr(GBytes) first = pack_entry(&good);
  g_autoptr(GError) error = NULL;
  g_assert_true(push(unpacker, first, &error));
  g_assert_false(push(unpacker, second, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_bytes_unref(second);
}

static void
test_hostile_data(void)
{
  static const HostileRow again = {"", "m", NULL, REPLICA_MAKE, NULL, NULL, &file_facts, REPLICA_FACT_SIZE};
  static const HostileRow below = {"", "a", NULL, REPLICA_MAKE, NULL, NULL, &file_facts, REPLICA_FACT_SIZE};
  assert_second_refused(pack_entry(&again));
  assert_second_refused(pack_entry(&below));
  assert_second_refused(pack_data(1, 0, 1, 0, FALSE, 0, 0));
  assert_second_refused(pack_data(0, 0, 11, 0, FALSE, 0, 0));
  assert_second_refused(pack_data(0, 10, 1, 0, FALSE, 0, 0));
  assert_second_refused(pack_data(0, G_MAXUINT64, 1, 0, FALSE, 0, 0));
  assert_second_refused(pack_data(0, 1, 0, G_MAXUINT64, FALSE, 0, 0));
  assert_second_refused(pack_data(0, 0, 1, 1, FALSE, 0, 0));
  assert_second_refused(pack_data(0, 0, 0, 0, TRUE, 2, 0));
  assert_second_refused(pack_data(0, 0, 0, 0, TRUE, 1, 1));
  assert_second_refused(g_bytes_new("\xff\xff\xff\xff", 4));
  assert_second_refused(g_bytes_new_take(g_malloc0(REPLICA_MESSAGE_MAX + 1), REPLICA_MESSAGE_MAX + 1));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add("/replica/facts/read", Tree, NULL, tree_set_up, test_read, tree_tear_down);
  g_test_add("/replica/facts/escape", Tree, NULL, tree_set_up, test_escape, tree_tear_down);
  g_test_add_func("/replica/facts/pseudo", test_pseudo);
  g_test_add("/replica/facts/xattrs", Tree, NULL, tree_set_up, test_xattrs, tree_tear_down);
  g_test_add("/replica/facts/all-xattrs", Tree, NULL, tree_set_up, test_all_xattrs, tree_tear_down);
  g_test_add("/replica/hashes/cache", Tree, NULL, tree_set_up, test_cache, tree_tear_down);
  g_test_add("/replica/hashes/damaged", Tree, NULL, tree_set_up, test_cache_damaged, tree_tear_down);
  g_test_add_func("/replica/path", test_paths);
  g_test_add_func("/replica/message/facts", test_facts_message);
  g_test_add_func("/replica/message/hostile-facts", test_facts_hostile);
  g_test_add_func("/replica/check", test_check);
  g_test_add_func("/replica/unpack/hostile-entries", test_hostile_entries);
  g_test_add_func("/replica/unpack/hostile-data", test_hostile_data);
  return g_test_run();
}
