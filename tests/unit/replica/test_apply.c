/* Applying a block's changes on the device: what conflicts, what fails, what is killed. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

static void
fill(Rig *rig, const char *root)
{
  g_autofree char *dir = rig_path(root, "dir");
  g_autofree char *sub = rig_path(root, "dir/sub");
  g_autofree char *locked = rig_path(root, "locked");
  g_assert_cmpint(mkdir(dir, 0755), ==, 0);
  g_assert_cmpint(mkdir(sub, 0755), ==, 0);
  g_assert_cmpint(mkdir(locked, 0755), ==, 0);
  g_autofree char *text = g_strnfill(20000, 'a');
  rig_write(root, "big", text);
  rig_write(root, "one", "one\n");
  rig_write(root, "two", "two, too\n");
  rig_write(root, "dir/in", "in\n");
  rig_write(root, "dir/sub/deep", "deep\n");
  rig_write(root, "locked/file", "locked\n");
  g_autofree char *file = rig_path(root, "locked/file");
  g_assert_cmpint(chmod(file, 0444), ==, 0);
  g_assert_cmpint(chmod(locked, 0555), ==, 0);
}

/* A bit of everything that the steps of a commit can be. */
static void
work(Rig *rig)
{
  g_autofree char *merged_big = rig_path(rig->merged, "big");
  g_auto(Fd) big = open(merged_big, O_RDWR | O_CLOEXEC);
  g_assert_cmpint(pwrite(big, "changed", 7, 9000), ==, 7);
  g_assert_cmpint(ftruncate(big, 15000), ==, 0);
  rig_write(rig->merged, "fresh", "fresh\n");
  g_autofree char *fresh = rig_path(rig->merged, "fresh");
  g_autofree char *one = rig_path(rig->merged, "one");
  g_assert_true(rig_rename(rig, fresh, one));
  g_autofree char *two = rig_path(rig->merged, "two");
  g_autofree char *three = rig_path(rig->merged, "three");
  g_assert_true(rig_rename(rig, two, three));
  g_autofree char *more = rig_path(rig->merged, "more");
  g_assert_cmpint(link(three, more), ==, 0);
  g_autofree char *dir = rig_path(rig->merged, "dir");
  rig_run("rm", "-rf", dir, NULL);
  rig_write(rig->merged, "dir", "a file now\n");
  g_autofree char *tree = rig_path(rig->merged, "tree");
  g_autofree char *branch = rig_path(rig->merged, "tree/branch");
  g_assert_cmpint(mkdir(tree, 0755), ==, 0);
  g_assert_cmpint(mkdir(branch, 0500), ==, 0);
  rig_write(rig->merged, "tree/branch/leaf", "leaf\n");
  g_autofree char *locked = rig_path(rig->merged, "locked");
  g_assert_cmpint(chmod(locked, 0755), ==, 0);
  rig_write(rig->merged, "locked/new", "new\n");
  g_autofree char *file = rig_path(rig->merged, "locked/file");
  g_assert_cmpint(unlink(file), ==, 0);
  g_assert_cmpint(chmod(locked, 0555), ==, 0);
}

static void
fill_owned(Rig *rig, const char *root)
{
  fill(rig, root);
  rig_run("chown", "-R", "1000:1000", root, NULL);
  g_autofree char *shared = rig_path(root, "shared"); /* another's, like /tmp: its times cannot be set */
  g_assert_cmpint(mkdir(shared, 0700), ==, 0);
  g_assert_cmpint(chmod(shared, 01777), ==, 0);
}

static Rig *
new_rig(guint64 device_size)
{
  return rig_new(1, fill, device_size);
}

static void
test_inodes(void)
{
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  guint64 big = rig_inode(rig->device, "big"), one = rig_inode(rig->device, "one"),
          two = rig_inode(rig->device, "two");
  work(rig);
  g_autoptr(GError) error = NULL;
  rig_commit(rig, NULL, &error);
  g_assert_no_error(error);
  rig_assert_same(rig, rig->merged, rig->device, rig_numbers_inodes());
  g_assert_cmpuint(rig_inode(rig->device, "big"), ==, big);
  g_assert_cmpuint(rig_inode(rig->device, "one"), !=, one);
  g_assert_cmpuint(rig_inode(rig->device, "three"), ==, two);
  g_assert_cmpuint(rig_inode(rig->device, "more"), ==, two);
  rig_free(rig);
}

/* Only what changed in a file travels, also in later blocks. */
static void
test_little_travels(void)
{
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  g_autofree char *path = rig_path(rig->merged, "big");
  for (guint i = 0; i < 3; i++) {
    g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, "xyz" + i, 1, 5000 + i), ==, 1);
    g_autoptr(GError) error = NULL;
    g_autoptr(ReplicaDelta) delta = replica_capture(rig->layer, rig->baseline, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(delta->entries->len, ==, 1);
    g_assert_cmpuint(replica_delta_bytes(delta), ==, REPLICA_BLOCK);
    g_assert_true(rig_commit(rig, NULL, &error));
  }
  rig_assert_same(rig, rig->merged, rig->device, FALSE);
  rig_free(rig);
}

/* A store to a mapping may not move the file's times: such a file has to be named. */
static void
test_mapped(void)
{
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  g_autofree char *path = rig_path(rig->merged, "big");
  g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
  char *map = mmap(NULL, 20000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  g_assert_true(map != MAP_FAILED);
  map[1] = '1';
  g_autoptr(GError) error = NULL;
  g_assert_true(rig_commit(rig, NULL, &error));
  g_usleep(50000);
  g_assert_true(rig_commit(rig, NULL, &error));
  map[2] = '2';
  g_autoptr(GHashTable) suspects = g_hash_table_new(g_str_hash, g_str_equal);
  g_hash_table_add(suspects, (char *)"big");
  g_autoptr(ReplicaDelta) delta =
      replica_capture(rig->layer, rig->baseline, &(ReplicaCaptureOptions){.suspects = suspects}, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(delta->entries->len, ==, 1);
  g_assert_cmpuint(replica_delta_bytes(delta), ==, REPLICA_BLOCK);
  munmap(map, 20000);
  rig_free(rig);
}

typedef void (*DeviceChange)(Rig *rig);

static void
assert_conflict(DeviceChange change, const char *path)
{
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  work(rig);
  change(rig);
  g_autofree char *before = rig_describe(rig->device, TRUE);
  g_autoptr(GPtrArray) conflicts = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GError) error = NULL;
  g_assert_false(rig_commit(rig, conflicts, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
  g_assert_true(g_ptr_array_find_with_equal_func(conflicts, path, g_str_equal, NULL));
  g_autofree char *after = rig_describe(rig->device, TRUE);
  g_assert_cmpstr(before, ==, after);
  rig_free(rig);
}

static void
write_big(Rig *rig)
{
  rig_write(rig->device, "big", "the device was here");
}

static void
make_three(Rig *rig)
{
  rig_write(rig->device, "three", "the device was here");
}

static void
fill_directory(Rig *rig)
{
  rig_write(rig->device, "dir/sub/other", "the device was here");
}

static void
link_big(Rig *rig)
{
  g_autofree char *from = rig_path(rig->device, "big");
  g_autofree char *to = rig_path(rig->device, "big-too");
  g_assert_cmpint(link(from, to), ==, 0);
}

static void
remove_two(Rig *rig)
{
  g_autofree char *path = rig_path(rig->device, "two");
  g_assert_cmpint(unlink(path), ==, 0);
}

static void
redirect_tree(Rig *rig)
{
  g_autofree char *path = rig_path(rig->device, "locked");
  g_autofree char *elsewhere = rig_path(rig->device, "elsewhere");
  g_assert_cmpint(rename(path, elsewhere), ==, 0);
  g_assert_cmpint(symlink("elsewhere", path), ==, 0);
}

static void
test_conflicts(void)
{
  assert_conflict(write_big, "big");
  assert_conflict(make_three, "three");
  assert_conflict(fill_directory, "dir/sub/other");
  assert_conflict(link_big, "big");
  assert_conflict(remove_two, "two");
  assert_conflict(redirect_tree, "locked");
}

/* What the device told counts even where size and times were put back. */
static void
test_seen(void)
{
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  rig_refresh(rig, "big");
  work(rig);
  g_autofree char *path = rig_path(rig->device, "big");
  struct stat st;
  g_assert_cmpint(stat(path, &st), ==, 0);
  g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
  g_assert_cmpint(pwrite(fd, "Z", 1, 0), ==, 1);
  struct timespec times[2] = {st.st_atim, st.st_mtim};
  g_assert_cmpint(futimens(fd, times), ==, 0);
  g_autoptr(GPtrArray) conflicts = g_ptr_array_new_with_free_func(g_free);
  replica_seen_check(rig->seen, rig->device_fd, conflicts);
  g_assert_cmpuint(conflicts->len, ==, 1);
  g_autoptr(GError) error = NULL;
  g_assert_false(rig_commit(rig, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH);
  rig_free(rig);
}

/* What the block itself changed is not asked of the device any more. */
static void
test_touched(void)
{
  static const char *const touched[] = {
      "big", "one", "two", "three", "dir", "dir/in", "dir/sub/deep", "tree/branch/leaf", "locked/file"};
  static const char *const untouched[] = {"elsewhere", "locked/nothing", "other/path"};
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  for (guint i = 0; i < G_N_ELEMENTS(touched); i++)
    g_assert_false(replica_baseline_touched(rig->baseline, rig->layer, touched[i]));
  work(rig);
  for (guint i = 0; i < G_N_ELEMENTS(touched); i++)
    g_assert_true(replica_baseline_touched(rig->baseline, rig->layer, touched[i]));
  for (guint i = 0; i < G_N_ELEMENTS(untouched); i++)
    g_assert_false(replica_baseline_touched(rig->baseline, rig->layer, untouched[i]));
  g_autoptr(GError) error = NULL;
  g_assert_true(rig_commit(rig, NULL, &error));
  for (guint i = 0; i < G_N_ELEMENTS(touched); i++)
    g_assert_false(replica_baseline_touched(rig->baseline, rig->layer, touched[i]));
  rig_free(rig);
}

static void
assert_no_room(const char *path, gint64 offset)
{
  Rig *rig = new_rig(1 << 20);
  if (!rig)
    return;
  work(rig);
  g_autofree char *full = rig_path(rig->merged, path);
  g_autofree char *text = g_strnfill(2 << 20, 'x');
  g_auto(Fd) fd = open(full, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  g_assert_cmpint(pwrite(fd, text, strlen(text), offset), ==, strlen(text));
  g_autofree char *before = rig_describe(rig->device, TRUE);
  g_autoptr(GError) error = NULL;
  g_assert_false(rig_commit(rig, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_nonnull(strstr(error->message, g_strerror(ENOSPC)));
  g_autofree char *after = rig_describe(rig->device, TRUE);
  g_assert_cmpstr(before, ==, after);
  g_assert_cmpint(unlink(full), ==, 0);
  rig_free(rig);
}

static void
test_no_room(void)
{
  assert_no_room("new", 0);
  assert_no_room("big", 100);
}

/* Another program's directory with the name of a directory that the block makes appears between the check and
 * the commit. */
static void
test_late_failure(void)
{
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  work(rig);
  ReplicaDelta *captured;
  g_autoptr(GPtrArray) messages = rig_messages(rig, &captured);
  g_autoptr(ReplicaDelta) delta = captured;
  g_autoptr(GError) error = NULL;
  g_autoptr(ReplicaApply) apply = replica_apply_new(rig->device_fd, rig->state_fd, NULL, &error);
  for (guint i = 0; i < messages->len; i++) {
    gsize length;
    const guint8 *data = g_bytes_get_data(messages->pdata[i], &length);
    g_assert_true(replica_apply_push(apply, data, length, &error));
  }
  g_assert_true(replica_apply_ready(apply));
  rig_write(rig->device, "tree", "in the way\n");
  g_assert_false(replica_apply_commit(apply, &error));
  g_assert_nonnull(error);
  g_clear_error(&error);
  g_autofree char *path = rig_path(rig->device, "tree");
  g_assert_cmpint(unlink(path), ==, 0);
  /* All is as before but for the times of the directory that was used. */
  g_autofree char *lower = rig_path(rig->base, "lower");
  struct stat st;
  g_assert_cmpint(stat(lower, &st), ==, 0);
  struct timespec times[2] = {st.st_atim, st.st_mtim};
  g_assert_cmpint(utimensat(AT_FDCWD, rig->device, times, 0), ==, 0);
  rig_assert_same(rig, lower, rig->device, TRUE);
  rig_free(rig);
}

/* Runs the apply in a child that dies at its n-th system call. FALSE when it lived to its end. */
static gboolean
apply_and_die(Rig *rig, GPtrArray *messages, guint calls)
{
  pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    RigSource source = {.messages = messages};
    _exit(replica_apply(rig->device_fd, rig->state_fd, rig_source_next, &source, NULL, NULL, NULL) ? 0 : 1);
  }
  int status;
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  for (guint i = 0; i < calls; i++) {
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    if (WIFEXITED(status)) {
      g_assert_cmpint(WEXITSTATUS(status), ==, 0);
      return FALSE;
    }
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return TRUE;
}

static gboolean
is_litter(const char *path)
{
  return strstr(path, ".doppel-") != NULL;
}

static void
assert_recovered(Rig *rig, const char *old_tree, guint calls, guint *old_count, guint *new_count)
{
  g_autoptr(GError) error = NULL;
  replica_recover(rig->device_fd, rig->state_fd, &error);
  g_assert_no_error(error);
  g_autoptr(GPtrArray) paths = rig_list(rig->device);
  for (guint i = 0; i < paths->len; i++)
    g_assert_false(is_litter(paths->pdata[i]));
  g_autofree char *state = rig_path(rig->base, "state");
  g_autoptr(GPtrArray) journals = rig_list(state);
  for (guint i = 0; i < journals->len;
       i++) /* what was made just before the journal itself was removed, or just after it was made */
    g_assert_false(g_str_has_suffix(journals->pdata[i], ".journal"));
  g_autofree char *now = rig_describe(rig->device, TRUE);
  g_autofree char *merged = rig_describe(rig->merged, rig_numbers_inodes());
  g_autofree char *comparable = rig_describe(rig->device, rig_numbers_inodes());
  if (strcmp(now, old_tree) == 0)
    (*old_count)++;
  else if (strcmp(comparable, merged) == 0)
    (*new_count)++;
  else
    g_error("killed at call %u: neither the old tree nor the new:\n%s\nold:\n%s\nnew:\n%s", calls, now,
            old_tree, merged);
}

static void
reset_device(Rig *rig)
{
  g_autofree char *lower = rig_path(rig->base, "lower/.");
  g_autofree char *command =
      g_strdup_printf("chmod -R u+w '%s'; find '%s' -mindepth 1 -delete; cp -a '%s' '%s'; rm -f '%s'/state/*",
                      rig->device, rig->device, lower, rig->device, rig->base);
  rig_run("sh", "-c", command, NULL);
}

static void
test_killed(void)
{
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  work(rig);
  ReplicaDelta *captured;
  g_autoptr(GPtrArray) messages = rig_messages(rig, &captured);
  g_autoptr(ReplicaDelta) delta = captured;
  g_autofree char *old_tree = rig_describe(rig->device, TRUE);
  guint old_count = 0, new_count = 0;
  gint step = g_test_quick() ? 7 : 1;
  guint calls = g_rand_int_range(rig->rand, 0, step);
  for (; apply_and_die(rig, messages, calls); calls += step) {
    assert_recovered(rig, old_tree, calls, &old_count, &new_count);
    reset_device(rig);
  }
  g_test_message("killed at %u points: %u old trees, %u new ones", old_count + new_count, old_count,
                 new_count);
  g_assert_cmpuint(old_count, >, 0);
  g_assert_cmpuint(new_count, >, 0);
  rig_assert_same(rig, rig->merged, rig->device, rig_numbers_inodes());
  rig_free(rig);
}

/* The recovery may be killed as well, any number of times. */
static gboolean
recover_and_die(Rig *rig, guint calls)
{
  pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    _exit(replica_recover(rig->device_fd, rig->state_fd, NULL) ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  for (guint i = 0; i < calls; i++) {
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    waitpid(child, &status, 0);
    if (WIFEXITED(status))
      return FALSE;
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return TRUE;
}

static void
test_killed_again(void)
{
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  work(rig);
  ReplicaDelta *captured;
  g_autoptr(GPtrArray) messages = rig_messages(rig, &captured);
  g_autoptr(ReplicaDelta) delta = captured;
  g_autofree char *old_tree = rig_describe(rig->device, TRUE);
  guint old_count = 0, new_count = 0;
  gint step = g_test_quick() ? 37 : 5;
  for (guint calls = 100; apply_and_die(rig, messages, calls); calls += step) {
    for (guint i = 0; i < 12 && recover_and_die(rig, g_rand_int_range(rig->rand, 20, 200)); i++)
      ;
    assert_recovered(rig, old_tree, calls, &old_count, &new_count);
    reset_device(rig);
  }
  g_assert_cmpuint(old_count, >, 0);
  rig_free(rig);
}

/* Entries that pass every check on their own, and together make no sense. */
static ReplicaEntry *
random_entry(Rig *rig, const char *path, const char *other)
{
  ReplicaEntry *entry = g_new0(ReplicaEntry, 1);
  entry->change = g_rand_int_range(rig->rand, REPLICA_REMOVE, REPLICA_LINK + 1);
  entry->path = g_strdup(path);
  replica_facts_read(rig->device_fd, path, 0, NULL, &entry->before);
  if (entry->change == REPLICA_MOVE || entry->change == REPLICA_LINK)
    entry->from = g_strdup(other);
  if (entry->change == REPLICA_MOVE)
    replica_facts_read(rig->device_fd, other, 0, NULL, &entry->source);
  if (entry->change == REPLICA_KEEP)
    replica_facts_copy(&entry->after, &entry->before);
  else if (entry->change == REPLICA_MOVE)
    replica_facts_copy(&entry->after, &entry->source);
  else if (entry->change != REPLICA_REMOVE)
    entry->after.type = g_rand_boolean(rig->rand) ? REPLICA_FILE : REPLICA_DIRECTORY;
  if (entry->change != REPLICA_REMOVE && entry->change != REPLICA_LINK) {
    entry->set = g_rand_boolean(rig->rand) ? REPLICA_FACT_METADATA : 0;
    entry->after.mode = g_rand_int_range(rig->rand, 0, 01000);
    entry->after.mtime_ns = g_rand_int(rig->rand);
  }
  if (entry->after.type == REPLICA_FILE && entry->change != REPLICA_LINK) {
    entry->set |= REPLICA_FACT_SIZE;
    entry->after.size = g_rand_int_range(rig->rand, 0, 30000);
  }
  return entry;
}

static GBytes *
pack_entries(GPtrArray *entries)
{
  ReplicaDelta delta = {.entries = entries};
  g_autoptr(ReplicaPacker) packer = replica_packer_new(NULL, &delta);
  g_autoptr(GByteArray) all = g_byte_array_new();
  for (GBytes *message; (message = replica_packer_next(packer, NULL)); g_bytes_unref(message)) {
    gsize length;
    const guint8 *data = g_bytes_get_data(message, &length);
    g_byte_array_append(all, data, length); /* messages of protobuf, one after the other, are one message */
  }
  return g_byte_array_free_to_bytes(g_steal_pointer(&all));
}

static void
test_nonsense(void)
{
  static const char *const pool[] = {"big",         "dir", "dir/in", "dir/sub", "dir/sub/deep", "locked",
                                     "locked/file", "new", "new/x",  "new/x/y", "one",          "two"};
  Rig *rig = new_rig(0);
  if (!rig)
    return;
  guint applied = 0;
  for (guint round = 0; round < 400; round++) {
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)replica_entry_free);
    for (guint i = 0; i < G_N_ELEMENTS(pool); i++)
      if (g_rand_int_range(rig->rand, 0, 3) == 0)
        g_ptr_array_add(entries,
                        random_entry(rig, pool[i], pool[g_rand_int_range(rig->rand, 0, G_N_ELEMENTS(pool))]));
    g_autoptr(GPtrArray) messages = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    g_ptr_array_add(messages, pack_entries(entries));
    g_autofree char *before = rig_describe(rig->device, TRUE);
    RigSource source = {.messages = messages};
    g_autoptr(GError) error = NULL;
    if (replica_apply(rig->device_fd, rig->state_fd, rig_source_next, &source, NULL, NULL, &error)) {
      applied++;
      g_autoptr(GPtrArray) paths = rig_list(rig->device);
      for (guint i = 0; i < paths->len; i++)
        g_assert_false(is_litter(paths->pdata[i]));
      reset_device(rig);
    } else {
      g_autofree char *after = rig_describe(rig->device, TRUE);
      if (strcmp(before, after) != 0)
        g_error("round %u (%s):\n%s\nbecame\n%s", round, error->message, before, after);
    }
    g_autofree char *state = rig_path(rig->base, "state");
    g_autoptr(GPtrArray) files = rig_list(state);
    g_assert_cmpuint(files->len, ==, 0);
  }
  g_test_message("%u of 400 could be applied", applied);
  rig_free(rig);
}

/* As an ordinary user: directories without permission to write are opened up and closed again. */
static void
test_unprivileged(void)
{
  Rig *rig = rig_numbers_inodes() ? rig_new(1, fill_owned, 0) : NULL;
  if (!rig) {
    g_test_skip("needs root, to become somebody else");
    return;
  }
  work(rig);
  rig_write(rig->merged, "shared/mine", "mine\n");
  rig_run("find", rig->merged, "-mindepth", "1", "!", "-name", "shared", "-exec", "chown", "-h", "1000:1000",
          "{}", ";", NULL);
  g_autofree char *state = rig_path(rig->base, "state");
  rig_run("chown", "1000:1000", state, rig->base, NULL);
  ReplicaDelta *captured;
  g_autoptr(GPtrArray) messages = rig_messages(rig, &captured);
  g_autoptr(ReplicaDelta) delta = captured;
  pid_t child = fork();
  if (child == 0) {
    g_autoptr(GError) failure = NULL;
    RigSource source = {.messages = messages};
    if (setgid(1000) < 0 || setuid(1000) < 0)
      _exit(2);
    if (!replica_apply(rig->device_fd, rig->state_fd, rig_source_next, &source, NULL, NULL, &failure)) {
      g_printerr("%s\n", failure->message);
      _exit(1);
    }
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  g_assert_cmpint(status, ==, 0);
  g_autofree char *here = rig_path(rig->device, "shared");
  g_autofree char *there = rig_path(rig->merged, "shared");
  rig_run("touch", "-d", "@5", here, there, NULL);
  rig_assert_same(rig, rig->merged, rig->device, TRUE);
  rig_free(rig);
}

int
main(int argc, char **argv)
{
  const char *refusal = rig_enter(&argc, &argv);
  g_test_init(&argc, &argv, NULL);
  if (refusal) {
    g_print("1..0 # SKIP %s\n", refusal);
    return 0;
  }
  g_test_add_func("/replica/apply/inodes", test_inodes);
  g_test_add_func("/replica/apply/little-travels", test_little_travels);
  g_test_add_func("/replica/apply/mapped", test_mapped);
  g_test_add_func("/replica/apply/conflicts", test_conflicts);
  g_test_add_func("/replica/apply/seen", test_seen);
  g_test_add_func("/replica/apply/touched", test_touched);
  g_test_add_func("/replica/apply/no-room", test_no_room);
  g_test_add_func("/replica/apply/late-failure", test_late_failure);
  g_test_add_func("/replica/apply/killed", test_killed);
  g_test_add_func("/replica/apply/killed-again", test_killed_again);
  g_test_add_func("/replica/apply/nonsense", test_nonsense);
  g_test_add_func("/replica/apply/unprivileged", test_unprivileged);
  return g_test_run();
}
