#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"

static gboolean userxattr;

static gboolean
write_file(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  gboolean good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  io_close(&fd);
  return good;
}

/* With root all ids are mapped, by a helper that stays outside; without it only the own one can be. */
static const char *
enter_user_namespace(void)
{
  uid_t uid = geteuid(), gid = getegid();
  int gate[2];
  pid_t parent = getpid();
  g_assert_cmpint(pipe2(gate, O_CLOEXEC), ==, 0);
  pid_t helper = fork();
  if (helper == 0) {
    char byte, path[64];
    close(gate[1]);
    if (read(gate[0], &byte, 1) != 1)
      _exit(1);
    gboolean good = TRUE;
    for (guint i = 0; good && i < 2; i++) {
      g_snprintf(path, sizeof path, "/proc/%d/%s_map", (int)parent, i ? "gid" : "uid");
      good = write_file(path, "0 0 65536\n");
    }
    _exit(good ? 0 : 1);
  }
  close(gate[0]);
  gboolean entered = unshare(CLONE_NEWUSER) == 0;
  if (entered && uid == 0 && write(gate[1], "x", 1) != 1)
    entered = FALSE;
  close(gate[1]);
  int status;
  waitpid(helper, &status, 0);
  if (entered && uid != 0) {
    g_autofree char *uid_map = g_strdup_printf("0 %u 1\n", uid);
    g_autofree char *gid_map = g_strdup_printf("0 %u 1\n", gid);
    entered = write_file("/proc/self/uid_map", uid_map) && write_file("/proc/self/setgroups", "deny") &&
              write_file("/proc/self/gid_map", gid_map);
  } else if (entered) {
    entered = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return entered ? NULL : "user namespaces are not to be had here";
}

gboolean
rig_numbers_inodes(void)
{
  return !userxattr;
}

const char *
rig_enter(int *argc, char ***argv)
{
  userxattr = geteuid() != 0;
  for (int i = 1; i < *argc; i++)
    userxattr |= strcmp((*argv)[i], "--userxattr") == 0;
  const char *refusal = userxattr ? enter_user_namespace() : NULL;
  if (refusal)
    return refusal;
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return "mount namespaces are not to be had here";
  return NULL;
}

guint
rig_seeds(guint otherwise)
{
  const char *text = g_getenv("DOPPEL_TEST_SEEDS");
#ifdef __SANITIZE_ADDRESS__ /* some ten times as slow, and it is the code that counts there */
  otherwise = (otherwise + 2) / 3;
#endif
  return text ? (guint)atoi(text) : otherwise;
}

guint32
rig_first_seed(void)
{
  const char *text = g_getenv("DOPPEL_TEST_SEED");
  return text ? (guint32)strtoul(text, NULL, 0) : 1;
}

char *
rig_path(const char *root, const char *path)
{
  return g_build_filename(root, path, NULL);
}

void
rig_run(const char *first, ...)
{
  g_autoptr(GPtrArray) arguments = g_ptr_array_new();
  va_list list;
  va_start(list, first);
  for (const char *at = first; at; at = va_arg(list, const char *))
    g_ptr_array_add(arguments, (char *)at);
  va_end(list);
  g_ptr_array_add(arguments, NULL);
  int status = -1;
  g_autoptr(GError) error = NULL;
  g_spawn_sync(NULL, (char **)arguments->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
               &error);
  g_assert_no_error(error);
  g_assert_cmpint(status, ==, 0);
}

static int
make_directory(const char *path)
{
  g_assert_cmpint(g_mkdir_with_parents(path, 0755), ==, 0);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint(fd, >=, 0);
  return fd;
}

static gboolean
mount_overlay(Rig *rig)
{
  g_autofree char *data = g_strdup_printf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work%s", rig->base,
                                          rig->base, rig->base, userxattr ? ",userxattr" : "");
  return mount("overlay", rig->merged, "overlay", 0, data) == 0;
}

char *
rig_make_base(void)
{
  char *base = g_dir_make_tmp("doppel-replica-XXXXXX", NULL);
  g_assert_nonnull(base);
  if (!g_getenv("DOPPEL_TEST_ON_DISK"))
    g_assert_cmpint(mount("tmpfs", base, "tmpfs", 0, NULL), ==, 0);
  return base;
}

void
rig_remove_base(const char *base)
{
  if (!g_getenv("DOPPEL_TEST_ON_DISK"))
    g_assert_cmpint(umount2(base, MNT_DETACH), ==, 0);
  rig_run("rm", "-rf", base, NULL);
}

Rig *
rig_new(guint32 seed, RigFill fill, guint64 device_size)
{
  Rig *rig = g_new0(Rig, 1);
  rig->seed = seed;
  rig->rand = g_rand_new_with_seed(seed);
  rig->base = g_dir_make_tmp("doppel-replica-XXXXXX", NULL);
  g_assert_nonnull(rig->base);
  if (!g_getenv("DOPPEL_TEST_ON_DISK"))
    g_assert_cmpint(mount("tmpfs", rig->base, "tmpfs", 0, NULL), ==, 0);
  g_autofree char *lower = rig_path(rig->base, "lower");
  g_autofree char *upper = rig_path(rig->base, "upper");
  g_autofree char *work = rig_path(rig->base, "work");
  g_autofree char *state = rig_path(rig->base, "state");
  rig->device = rig_path(rig->base, "device");
  rig->merged = rig_path(rig->base, "merged");
  rig->lower_fd = make_directory(lower);
  rig->upper_fd = make_directory(upper);
  rig->state_fd = make_directory(state);
  close(make_directory(work));
  close(make_directory(rig->merged));
  close(make_directory(rig->device));
  if (device_size) {
    g_autofree char *data = g_strdup_printf("size=%" G_GUINT64_FORMAT, device_size);
    g_assert_cmpint(mount("tmpfs", rig->device, "tmpfs", 0, data), ==, 0);
  }
  fill(rig, lower);
  g_autofree char *all = rig_path(lower, ".");
  rig_run("cp", "-a", all, rig->device, NULL);
  rig->device_fd = make_directory(rig->device);
  g_autoptr(GError) error = NULL;
  g_assert_true(replica_layer_prepare(rig->upper_fd, rig->lower_fd, &error));
  if (!mount_overlay(rig)) {
    g_test_skip("the kernel refuses to mount an overlay here");
    return NULL;
  }
  rig->merged_fd = make_directory(rig->merged);
  rig->layer = replica_layer_new(rig->merged_fd, rig->upper_fd, rig->lower_fd, userxattr, &error);
  g_assert_no_error(error);
  rig->baseline = replica_baseline_new(rig->layer, &error);
  g_assert_no_error(error);
  rig->seen = replica_seen_new();
  rig->renamed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  return rig;
}

void
rig_free(Rig *rig)
{
  replica_seen_free(rig->seen);
  g_hash_table_unref(rig->renamed);
  replica_baseline_free(rig->baseline);
  replica_layer_free(rig->layer);
  close(rig->merged_fd);
  close(rig->lower_fd);
  close(rig->upper_fd);
  close(rig->state_fd);
  close(rig->device_fd);
  umount2(rig->merged, MNT_DETACH);
  umount2(rig->device, MNT_DETACH);
  if (umount2(rig->base, MNT_DETACH) < 0)
    rig_run("rm", "-rf", rig->base, NULL);
  rmdir(rig->base);
  g_rand_free(rig->rand);
  g_free(rig->base);
  g_free(rig->device);
  g_free(rig->merged);
  g_free(rig);
}

GPtrArray *
rig_messages(Rig *rig, ReplicaDelta **delta)
{
  g_autoptr(GError) error = NULL;
  *delta =
      replica_capture(rig->layer, rig->baseline, &(ReplicaCaptureOptions){.renamed = rig->renamed}, &error);
  g_assert_no_error(error);
  g_autoptr(ReplicaPacker) packer = replica_packer_new(rig->layer, *delta);
  GPtrArray *messages = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (GBytes *message; (message = replica_packer_next(packer, &error));) {
    g_assert_cmpuint(g_bytes_get_size(message), <=, REPLICA_MESSAGE_MAX);
    g_ptr_array_add(messages, message);
  }
  g_assert_no_error(error);
  return messages;
}

GBytes *
rig_source_next(gpointer source, GError **error)
{
  RigSource *from = source;
  return from->next < from->messages->len ? g_bytes_ref(from->messages->pdata[from->next++]) : NULL;
}

static GBytes *
packer_next(gpointer packer, GError **error)
{
  return replica_packer_next(packer, error);
}

gboolean
rig_commit(Rig *rig, GPtrArray *conflicts, GError **error)
{
  g_autoptr(ReplicaDelta) delta =
      replica_capture(rig->layer, rig->baseline, &(ReplicaCaptureOptions){.renamed = rig->renamed}, error);
  if (!delta)
    return FALSE;
  g_autoptr(ReplicaPacker) packer = replica_packer_new(rig->layer, delta);
  ReplicaApplyOptions options = {.seen = rig->seen};
  if (!replica_apply(rig->device_fd, rig->state_fd, packer_next, packer, &options, conflicts, error))
    return FALSE;
  replica_delta_commit(delta, rig->baseline);
  replica_seen_reset(rig->seen);
  g_hash_table_remove_all(rig->renamed);
  return TRUE;
}

static gboolean
ask_device(gpointer user_data, const char *path, ReplicaFacts *facts, GError **error)
{
  Rig *rig = user_data;
  return replica_facts_read(rig->device_fd, path, 0, NULL, facts) == 0;
}

static void
pull(Rig *rig, const ReplicaCopy *copy, const char *path)
{
  g_autoptr(GError) error = NULL;
  guint flags = g_rand_boolean(rig->rand) ? REPLICA_PULL_IN_PLACE : 0;
  g_autoptr(ReplicaPull) to = replica_pull_new(copy, path, flags, &error);
  g_assert_no_error(error);
  g_autoptr(GBytes) request = replica_pull_request(to);
  gsize length;
  const guint8 *data = g_bytes_get_data(request, &length);
  g_autoptr(ReplicaSend) from = replica_send_new(rig->device_fd, data, length, &error);
  g_assert_no_error(error);
  for (GBytes *message; (message = replica_send_next(from, &error)); g_bytes_unref(message)) {
    data = g_bytes_get_data(message, &length);
    replica_pull_push(to, data, length, &error);
    g_assert_no_error(error);
  }
  g_assert_no_error(error);
  g_assert_true(replica_pull_finish(to, NULL, &error));
  g_assert_no_error(error);
}

void
rig_refresh(Rig *rig, const char *path)
{
  g_autoptr(GError) error = NULL;
  ReplicaCopy copy = {.layer = rig->layer, .baseline = rig->baseline, .ask = ask_device, .user_data = rig};
  for (guint flags = 0;;) {
    g_auto(ReplicaFacts) device = {0}, clone = {0};
    int device_errno = replica_facts_read(rig->device_fd, path, flags, NULL, &device);
    int clone_errno = replica_facts_read(rig->merged_fd, path, flags, NULL, &clone);
    if (!device_errno || device_errno == ENOENT)
      replica_seen_add(rig->seen, path, &device);
    ReplicaVerdict verdict = replica_check(&device, device_errno, &clone, clone_errno, 0);
    if (verdict == REPLICA_CHECK_NEED_HASH && !flags) {
      flags = REPLICA_READ_HASH;
      continue;
    }
    if (replica_baseline_touched(rig->baseline, rig->layer, path))
      return;
    if (verdict == REPLICA_CHECK_PULL_CONTENT)
      pull(rig, &copy, path);
    else if (verdict != REPLICA_CHECK_SAME && verdict != REPLICA_CHECK_DEVICE_ONLY)
      replica_fix(&copy, path, verdict, &device, &error);
    g_assert_no_error(error);
    return;
  }
}

static void
list_into(const char *root, const char *directory, GPtrArray *paths)
{
  g_autofree char *full = rig_path(root, directory);
  DIR *listing = opendir(full);
  g_assert_nonnull(listing);
  for (struct dirent *entry; (entry = readdir(listing));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    char *path = *directory ? g_strconcat(directory, "/", entry->d_name, NULL) : g_strdup(entry->d_name);
    g_ptr_array_add(paths, path);
    g_autofree char *child = rig_path(root, path);
    struct stat st;
    g_assert_cmpint(lstat(child, &st), ==, 0);
    if (S_ISDIR(st.st_mode))
      list_into(root, path, paths);
  }
  closedir(listing);
}

static int
compare_strings(gconstpointer a, gconstpointer b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *
rig_list(const char *root)
{
  GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
  list_into(root, "", paths);
  g_ptr_array_sort(paths, compare_strings);
  return paths;
}

static void
describe_xattrs(GString *text, const char *path)
{
  char names[4096], value[4096];
  ssize_t length = llistxattr(path, names, sizeof names);
  g_autoptr(GPtrArray) sorted = g_ptr_array_new();
  for (char *at = names; length > 0 && at < names + length; at += strlen(at) + 1)
    if (!strstr(at, ".overlay.") && strcmp(at, "security.selinux") != 0)
      g_ptr_array_add(sorted, at);
  g_ptr_array_sort(sorted, compare_strings);
  for (guint i = 0; i < sorted->len; i++) {
    ssize_t got = lgetxattr(path, sorted->pdata[i], value, sizeof value);
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_MD5, (guchar *)value, MAX(got, 0));
    g_string_append_printf(text, " %s=%s", (char *)sorted->pdata[i], sum);
  }
}

static void
describe_path(GString *text, const char *root, const char *path, GHashTable *groups)
{
  g_autofree char *full = rig_path(root, path);
  struct stat st;
  g_assert_cmpint(lstat(full, &st), ==, 0);
  g_string_append_printf(text, "%s mode=%o owner=%u:%u mtime=%lld.%09ld", path, st.st_mode, st.st_uid,
                         st.st_gid, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  if (S_ISLNK(st.st_mode)) {
    g_autofree char *target = g_file_read_link(full, NULL);
    g_string_append_printf(text, " -> %s", target);
  }
  if (S_ISREG(st.st_mode)) {
    g_autofree char *content = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(full, &content, &length, NULL));
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)content, length);
    g_string_append_printf(text, " size=%zu %s", length, sum);
    g_autofree char *inode = g_strdup_printf("%llu", (unsigned long long)st.st_ino);
    const char *first = groups ? g_hash_table_lookup(groups, inode) : NULL;
    if (first)
      g_string_append_printf(text, " same as %s", first);
    else if (groups)
      g_hash_table_insert(groups, g_steal_pointer(&inode), g_strdup(path));
  }
  if (!S_ISLNK(st.st_mode))
    describe_xattrs(text, full);
  g_string_append_c(text, '\n');
}

char *
rig_describe(const char *root, gboolean links)
{
  g_autoptr(GPtrArray) paths = rig_list(root);
  g_autoptr(GHashTable) groups =
      links ? g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free) : NULL;
  GString *text = g_string_new(NULL);
  describe_path(text, root, "", groups);
  for (guint i = 0; i < paths->len; i++)
    describe_path(text, root, paths->pdata[i], groups);
  return g_string_free(text, FALSE);
}

void
rig_assert_same(Rig *rig, const char *a, const char *b, gboolean links)
{
  g_autofree char *left = rig_describe(a, links);
  g_autofree char *right = rig_describe(b, links);
  if (strcmp(left, right) == 0)
    return;
  g_auto(GStrv) left_lines = g_strsplit(left, "\n", 0);
  g_auto(GStrv) right_lines = g_strsplit(right, "\n", 0);
  guint i = 0;
  while (left_lines[i] && right_lines[i] && strcmp(left_lines[i], right_lines[i]) == 0)
    i++;
  g_error("seed %u: %s and %s differ:\n  %s\n  %s", rig->seed, a, b, left_lines[i], right_lines[i]);
}

gboolean
rig_rename(Rig *rig, const char *from, const char *to)
{
  if (rename(from, to) < 0)
    return FALSE;
  gsize length = strlen(rig->merged);
  if (rig->renamed && g_str_has_prefix(to, rig->merged) && to[length] == '/')
    g_hash_table_add(rig->renamed, g_strdup(to + length + 1));
  return TRUE;
}

void
rig_write(const char *root, const char *path, const char *text)
{
  g_autofree char *full = rig_path(root, path);
  int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  g_assert_cmpint(fd, >=, 0);
  g_assert_true(io_write_all(fd, text, strlen(text)));
  close(fd);
}

char *
rig_read(const char *root, const char *path)
{
  g_autofree char *full = rig_path(root, path);
  char *text = NULL;
  g_file_get_contents(full, &text, NULL, NULL);
  return text;
}

guint64
rig_inode(const char *root, const char *path)
{
  g_autofree char *full = rig_path(root, path);
  struct stat st;
  return lstat(full, &st) == 0 ? st.st_ino : 0;
}
