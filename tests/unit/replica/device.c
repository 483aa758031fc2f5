#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/io.h"
#include "replica/path.h"
#include "rig.h"

#define CONTENT_MAX (256 << 10)
#define NS_PER_S    1000000000LL

Device *
device_new(const char *path, guint32 seed)
{
  Device *device = g_new0(Device, 1);
  device->path = g_strdup(path);
  g_assert_cmpint(mkdir(path, 0755), ==, 0);
  device->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint(device->root, >=, 0);
  device->rand = g_rand_new_with_seed(seed);
  device->nodes = rig_numbers_inodes(); /* not in a user namespace */
  return device;
}

void
device_free(Device *device)
{
  close(device->root);
  g_rand_free(device->rand);
  g_free(device->path);
  g_free(device);
}

static guint
below(Device *device, guint limit)
{
  return g_rand_int_range(device->rand, 0, limit);
}

static void
tell(Device *device, GenerationStep *step)
{
  step->number = device->steps->len + 1;
  g_ptr_array_add(device->steps, generation_step_pack(step));
  generation_step_free(step);
}

static GenerationStep *
step_at(GenerationKind kind, const char *path)
{
  GenerationStep *step = generation_step_new(kind);
  step->path = g_strdup(path);
  return step;
}

static void
read_facts(Device *device, const char *path, ReplicaFacts *facts)
{
  g_assert_cmpint(replica_facts_read(device->root, path, 0, NULL, facts), ==, 0);
}

static void
tell_place(Device *device, const char *path)
{
  GenerationStep *step = step_at(GENERATION_PLACE, path);
  read_facts(device, path, &step->facts);
  step->facts.size = 0;
  tell(device, step);
}

/* Names that are hard: long, not UTF-8, with what shells and options dislike. */
static char *
random_name(Device *device)
{
  static const char *const odd[] = {"a b", "\xff\xfe", "x:y,z\\", "-n", "\n", "\xc3\xa4", "..x"};
  GString *name = g_string_new(NULL);
  if (below(device, 4) == 0)
    g_string_append(name, odd[below(device, G_N_ELEMENTS(odd))]);
  g_string_append_printf(name, "%u", below(device, 30)); /* so few that they come again */
  while (below(device, 30) == 0 && name->len < 200)
    g_string_append(name, "0123456789012345678901234567890123456789");
  return g_string_free(name, FALSE);
}

static gboolean
is_type(Device *device, const char *path, mode_t type)
{
  struct stat status;
  return fstatat(device->root, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && (status.st_mode & S_IFMT) == type;
}

/* A path of that type (0: any), or NULL. */
static char *
random_path(Device *device, mode_t type)
{
  g_autoptr(GPtrArray) paths = rig_list(device->path);
  g_autoptr(GPtrArray) fit = g_ptr_array_new();
  for (guint i = 0; i < paths->len; i++)
    if (!type || is_type(device, paths->pdata[i], type))
      g_ptr_array_add(fit, paths->pdata[i]);
  return fit->len ? g_strdup(fit->pdata[below(device, fit->len)]) : NULL;
}

static char *
random_directory(Device *device)
{
  char *path = below(device, 5) ? random_path(device, S_IFDIR) : NULL;
  return path && strlen(path) < 2500 ? path : (g_free(path), g_strdup(""));
}

/* A path where nothing is. */
static char *
fresh_path(Device *device)
{
  for (;;) {
    g_autofree char *directory = random_directory(device), *name = random_name(device);
    char *path = replica_path_join(directory, name);
    if (faccessat(device->root, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
      return path;
    g_free(path);
  }
}

static void
set_time(Device *device, const char *path)
{
  struct timespec times[2] = {
      {.tv_nsec = UTIME_OMIT},
      {.tv_sec = 1000000000 + below(device, 500000000), .tv_nsec = below(device, 1000000000)}};
  g_assert_cmpint(utimensat(device->root, path, times, AT_SYMLINK_NOFOLLOW), ==, 0);
}

static void
set_attribute(Device *device, const char *path)
{
  static const guint8 capability[20] = {1, 0, 0, 2, 0, 4};
  static const guint8 acl[] = {2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
                               0, 7, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
                               4, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
  char proc[REPLICA_PROC_MAX];
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(device->root, path, FALSE, &name);
  replica_path_proc(proc, parent, name);
  guint kind = below(device, 4);
  if (kind == 0 && device->nodes && is_type(device, path, S_IFREG))
    g_assert_cmpint(lsetxattr(proc, "security.capability", capability, sizeof capability, 0), ==, 0);
  else if (kind == 1)
    g_assert_true(lsetxattr(proc, "system.posix_acl_access", acl, sizeof acl, 0) == 0 || errno == EOPNOTSUPP);
  else if (kind == 2 && is_type(device, path, S_IFDIR))
    g_assert_true(lsetxattr(proc, "system.posix_acl_default", acl, sizeof acl, 0) == 0 ||
                  errno == EOPNOTSUPP);
  else
    g_assert_cmpint(lsetxattr(proc, "user.colour", "blue\0green", below(device, 10), 0), ==, 0);
}

/* Owner, mode, attributes and time of a file or directory change. */
static void
dress(Device *device, const char *path)
{
  gboolean is_directory = is_type(device, path, S_IFDIR);
  if (device->nodes)
    g_assert_cmpint(
        fchownat(device->root, path, below(device, 3) * 1000, below(device, 3) * 50, AT_SYMLINK_NOFOLLOW), ==,
        0);
  if (below(device, 3) == 0)
    set_attribute(device, path);
  guint mode = below(device, 010000) | (device->nodes ? 0 : is_directory ? 0700 : 0400);
  g_assert_cmpint(fchmodat(device->root, path, mode, 0), ==, 0);
  set_time(device, path);
}

static GBytes *
read_content(Device *device, const char *path)
{
  g_auto(Fd) fd = openat(device->root, path, O_RDONLY | O_CLOEXEC);
  guint8 *bytes = g_malloc(8 * CONTENT_MAX);
  gssize length = io_read_all(fd, bytes, 8 * CONTENT_MAX);
  g_assert_cmpint(length, >=, 0);
  return g_bytes_new_take(bytes, length);
}

/* A content as it is put together. */
typedef struct {
  Device *device;
  GByteArray *content;
  GArray *segments;
} Mixture;

static void
add_literal(Mixture *mixture)
{
  guint length = 1 + below(mixture->device, 20000);
  guint8 *bytes = g_malloc(length);
  guint8 value = below(mixture->device, 256);
  for (guint i = 0; i < length; i++)
    bytes[i] = value + i * i / 7;
  GenerationSegment segment = {.kind = GENERATION_LITERAL, .length = length, .bytes = bytes};
  g_byte_array_append(mixture->content, bytes, length);
  g_array_append_val(mixture->segments, segment);
}

static void
add_zeros(Mixture *mixture)
{
  guint length = 1 + below(mixture->device, 100000);
  GenerationSegment segment = {.kind = GENERATION_ZEROS, .length = length};
  guint from = mixture->content->len;
  g_byte_array_set_size(mixture->content, from + length);
  memset(mixture->content->data + from, 0, length);
  g_array_append_val(mixture->segments, segment);
}

static void
add_copy(Mixture *mixture, guint source, GBytes *old)
{
  gsize size;
  const guint8 *bytes = g_bytes_get_data(old, &size);
  if (size == 0)
    return;
  guint64 offset = below(mixture->device, size);
  GenerationSegment segment = {.kind = GENERATION_COPY,
                               .length = 1 + below(mixture->device, size - offset),
                               .source = source,
                               .offset = offset};
  g_byte_array_append(mixture->content, bytes + offset, segment.length);
  g_array_append_val(mixture->segments, segment);
}

static void
tell_segments(Device *device, GArray *segments)
{
  guint64 literals = 0;
  GenerationStep *step = NULL;
  for (guint i = 0; i < segments->len; i++) {
    const GenerationSegment *segment = &g_array_index(segments, GenerationSegment, i);
    guint64 more = segment->kind == GENERATION_LITERAL ? segment->length : 0;
    if (step && (literals + more > GENERATION_LITERAL_MAX || below(device, 4) == 0)) {
      tell(device, g_steal_pointer(&step));
      literals = 0;
    }
    if (!step) {
      step = generation_step_new(GENERATION_SEGMENTS);
      step->segments = g_array_new(FALSE, FALSE, sizeof(GenerationSegment));
    }
    g_array_append_val(step->segments, *segment);
    literals += more;
  }
  if (step)
    tell(device, step);
}

static void
tell_content(Device *device, const char *path, GPtrArray *sources, const Mixture *mixture, gboolean rightly)
{
  GenerationStep *open = step_at(GENERATION_OPEN, path);
  read_facts(device, path, &open->facts);
  open->sources = sources ? g_ptr_array_ref(sources) : NULL;
  tell(device, open);
  tell_segments(device, mixture->segments);
  GenerationStep *close = generation_step_new(GENERATION_CLOSE);
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(mixture->content->data, mixture->content->len));
  memcpy(close->hash, &canonical, sizeof close->hash);
  close->hash[0] ^= !rightly;
  tell(device, close);
}

static void
clear_segments(Mixture *mixture)
{
  for (guint i = 0; i < mixture->segments->len; i++)
    g_free((gpointer)g_array_index(mixture->segments, GenerationSegment, i).bytes);
  g_array_set_size(mixture->segments, 0);
}

static void
mixture_clear(Mixture *mixture)
{
  clear_segments(mixture);
  g_array_unref(mixture->segments);
  g_byte_array_unref(mixture->content);
}

static void
write_content(Device *device, const char *path, const GByteArray *content)
{
  g_auto(Fd) fd = openat(device->root, path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
  g_assert_cmpint(fd, >=, 0);
  g_assert_true(io_write_all(fd, content->data, content->len));
}

static ino_t
inode_of(Device *device, const char *path)
{
  struct stat status;
  g_assert_cmpint(fstatat(device->root, path, &status, AT_SYMLINK_NOFOLLOW), ==, 0);
  return status.st_ino;
}

static void
tell_further_names(Device *device, const char *path)
{
  g_autoptr(GPtrArray) paths = rig_list(device->path);
  ino_t ino = inode_of(device, path);
  for (guint i = 0; i < paths->len; i++) {
    if (strcmp(paths->pdata[i], path) == 0 || inode_of(device, paths->pdata[i]) != ino)
      continue;
    GenerationStep *link = step_at(GENERATION_LINK, paths->pdata[i]);
    link->to = g_strdup(path);
    tell(device, link);
  }
}

/* A file at `path`, made of old files' pieces, new bytes and holes. */
static void
change_content(Device *device, const char *path, gboolean rightly)
{
  Mixture mixture = {.device = device,
                     .content = g_byte_array_new(),
                     .segments = g_array_new(FALSE, FALSE, sizeof(GenerationSegment))};
  g_autoptr(GPtrArray) sources = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GPtrArray) old = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (guint i = below(device, 3); i > 0; i--) {
    char *source = random_path(device, S_IFREG);
    if (!source)
      break;
    g_ptr_array_add(sources, source);
    g_ptr_array_add(old, read_content(device, source));
  }
  for (guint i = below(device, 8); i > 0 && mixture.content->len < CONTENT_MAX; i--) {
    guint kind = below(device, 3);
    if (kind == 0)
      add_literal(&mixture);
    else if (kind == 1)
      add_zeros(&mixture);
    else if (old->len) {
      guint source = below(device, old->len);
      add_copy(&mixture, source, old->pdata[source]);
    }
  }
  write_content(device, path, mixture.content);
  dress(device, path);
  tell_content(device, path, sources, &mixture, rightly);
  if (!rightly) { /* sources may have changed by this very content: whole */
    clear_segments(&mixture);
    for (guint at = 0; at < mixture.content->len; at += GENERATION_LITERAL_MAX) {
      guint length = MIN(mixture.content->len - at, GENERATION_LITERAL_MAX);
      GenerationSegment all = {.kind = GENERATION_LITERAL,
                               .length = length,
                               .bytes = g_memdup2(mixture.content->data + at, length)};
      g_array_append_val(mixture.segments, all);
    }
    tell_content(device, path, NULL, &mixture, TRUE);
  }
  tell_further_names(device, path);
  mixture_clear(&mixture);
}

static void
remove_path(Device *device, const char *path)
{
  g_autofree char *whole = rig_path(device->path, path);
  rig_run("rm", "-rf", "--", whole, NULL);
}

static void
change_remove(Device *device)
{
  g_autofree char *path = random_path(device, 0);
  if (!path)
    return;
  remove_path(device, path);
  tell(device, step_at(GENERATION_REMOVE, path));
}

static void
change_move(Device *device)
{
  g_autofree char *from = random_path(device, 0), *to = fresh_path(device);
  g_autofree char *inside = from ? g_strconcat(from, "/", NULL) : NULL;
  if (!from || g_str_has_prefix(to, inside))
    return;
  g_assert_cmpint(renameat(device->root, from, device->root, to), ==, 0);
  GenerationStep *lift = step_at(GENERATION_LIFT, from), *drop = step_at(GENERATION_DROP, to);
  lift->hold = drop->hold = ++device->hold;
  tell(device, lift);
  tell(device, drop);
}

/* Two things change places. */
static void
change_exchange(Device *device)
{
  g_autofree char *a = random_path(device, 0), *b = random_path(device, 0);
  g_autofree char *in_a = a ? g_strconcat(a, "/", NULL) : NULL, *in_b = b ? g_strconcat(b, "/", NULL) : NULL;
  if (!a || strcmp(a, b) == 0 || g_str_has_prefix(a, in_b) || g_str_has_prefix(b, in_a))
    return;
  g_assert_cmpint(renameat2(device->root, a, device->root, b, RENAME_EXCHANGE), ==, 0);
  const char *const paths[] = {a, b, b, a};
  for (guint i = 0; i < 4; i++) {
    GenerationStep *step = step_at(i < 2 ? GENERATION_LIFT : GENERATION_DROP, paths[i]);
    step->hold = device->hold + 1 + i % 2;
    tell(device, step);
  }
  device->hold += 2;
}

static void
change_link(Device *device)
{
  g_autofree char *to = random_path(device, S_IFREG), *path = fresh_path(device);
  if (!to)
    return;
  g_assert_cmpint(linkat(device->root, to, device->root, path, 0), ==, 0);
  GenerationStep *step = step_at(GENERATION_LINK, path);
  step->to = g_strdup(to);
  tell(device, step);
}

static void
change_node(Device *device)
{
  g_autofree char *old = random_path(device, 0), *path = NULL;
  guint kind = below(device, device->nodes ? 5 : 3);
  if (old && below(device, 6) == 0) { /* in place of something else */
    path = g_steal_pointer(&old);
    if (kind == 1) /* a PLACE of a directory would take over what is in one */
      tell(device, step_at(GENERATION_REMOVE, path));
    remove_path(device, path);
  } else {
    path = fresh_path(device);
  }
  g_autofree char *target = random_name(device);
  int result = kind == 0   ? symlinkat(target, device->root, path)
               : kind == 1 ? mkdirat(device->root, path, 0755)
               : kind == 2 ? mknodat(device->root, path, S_IFIFO | 0644, 0)
                           : mknodat(device->root, path, (kind == 3 ? S_IFCHR : S_IFBLK) | 0640,
                                     makedev(1 + below(device, 300), below(device, 300)));
  g_assert_cmpint(result, ==, 0);
  set_time(device, path);
  tell_place(device, path);
}

/* One name of several gets an inode of its own, with the same content. */
static gboolean
part(Device *device, const char *path)
{
  struct stat status;
  g_assert_cmpint(fstatat(device->root, path, &status, AT_SYMLINK_NOFOLLOW), ==, 0);
  if (!S_ISREG(status.st_mode) || status.st_nlink == 1 || below(device, 2))
    return FALSE;
  g_autofree char *whole = rig_path(device->path, path), *fresh = rig_path(device->path, "parted");
  rig_run("cp", "-a", "--", whole, fresh, NULL);
  g_assert_cmpint(rename(fresh, whole), ==, 0);
  return TRUE;
}

static void
change_metadata(Device *device)
{
  g_autofree char *path = random_path(device, below(device, 2) ? S_IFREG : S_IFDIR);
  if (!path)
    return;
  if (!part(device, path) || below(device, 2)) /* or nothing is new but that */
    dress(device, path);
  tell_place(device, path);
  if (is_type(device, path, S_IFREG))
    tell_further_names(device, path);
}

/* A directory goes with all that is in it, and an empty one is there instead. */
static void
change_renew(Device *device)
{
  g_autofree char *path = random_path(device, S_IFDIR);
  if (!path)
    return;
  remove_path(device, path);
  tell(device, step_at(GENERATION_REMOVE, path));
  g_assert_cmpint(mkdirat(device->root, path, 0755), ==, 0);
  tell_place(device, path);
}

static void
change_one(Device *device)
{
  guint kind = below(device, 13);
  if (kind < 2) {
    g_autofree char *path = fresh_path(device);
    change_content(device, path, TRUE);
  } else if (kind < 4) {
    g_autofree char *path = random_path(device, S_IFREG);
    if (path)
      change_content(device, path, TRUE);
  } else if (kind < 6) {
    change_node(device);
  } else if (kind < 8) {
    change_move(device);
  } else {
    static void (*const changes[])(Device *) = {change_remove, change_link, change_metadata, change_exchange,
                                                change_renew};
    changes[kind - 8](device);
  }
}

/* The directories' inodes with their times. */
static GHashTable *
directory_times(Device *device)
{
  GHashTable *times = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
  g_autoptr(GPtrArray) paths = rig_list(device->path);
  g_ptr_array_add(paths, g_strdup(""));
  for (guint i = 0; i < paths->len; i++) {
    g_auto(ReplicaFacts) facts = {0};
    read_facts(device, paths->pdata[i], &facts);
    if (facts.type == REPLICA_DIRECTORY)
      g_hash_table_insert(times, g_memdup2(&facts.ino, sizeof facts.ino),
                          g_memdup2(&facts.mtime_ns, sizeof facts.mtime_ns));
  }
  g_usleep(20000); /* a change within the same tick of the file system's clock would not be seen */
  return times;
}

static void
tell_directories(Device *device, GHashTable *before)
{
  g_autoptr(GPtrArray) paths = rig_list(device->path);
  g_ptr_array_insert(paths, 0, g_strdup(""));
  for (guint i = paths->len; i-- > 0;) {
    g_auto(ReplicaFacts) facts = {0};
    read_facts(device, paths->pdata[i], &facts);
    const gint64 *old = g_hash_table_lookup(before, &facts.ino);
    if (facts.type == REPLICA_DIRECTORY && (!old || *old != facts.mtime_ns))
      tell_place(device, paths->pdata[i]);
  }
}

static void
tell_commit(Device *device, guint64 generation)
{
  g_autoptr(GPtrArray) paths = rig_list(device->path);
  GenerationStep *commit = generation_step_new(GENERATION_COMMIT);
  commit->generation = generation;
  commit->time_ns = replica_now_ns();
  commit->nodes = paths->len;
  tell(device, commit);
}

static GPtrArray *
change(Device *device, guint changes, guint64 generation, gboolean rightly)
{
  device->steps = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_autoptr(GHashTable) before =
      generation > 1 ? directory_times(device) : g_hash_table_new(g_int64_hash, g_int64_equal);
  for (guint i = 0; i < changes; i++)
    change_one(device);
  if (!rightly) {
    g_autofree char *path = fresh_path(device);
    change_content(device, path, FALSE);
  }
  tell_directories(device, before);
  tell_commit(device, generation);
  return g_steal_pointer(&device->steps);
}

GPtrArray *
device_tell_file(Device *device, const char *path, guint64 generation)
{
  device->steps = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  g_autoptr(GBytes) content = read_content(device, path);
  gsize length;
  gconstpointer bytes = g_bytes_get_data(content, &length);
  Mixture mixture = {.device = device,
                     .content = g_byte_array_new(),
                     .segments = g_array_new(FALSE, FALSE, sizeof(GenerationSegment))};
  g_byte_array_append(mixture.content, bytes, length);
  GenerationSegment all = {.kind = GENERATION_LITERAL, .length = length, .bytes = g_memdup2(bytes, length)};
  g_array_append_val(mixture.segments, all);
  tell_content(device, path, NULL, &mixture, TRUE);
  tell_commit(device, generation);
  mixture_clear(&mixture);
  return g_steal_pointer(&device->steps);
}

GPtrArray *
device_change(Device *device, guint changes, guint64 generation)
{
  return change(device, changes, generation, TRUE);
}

GPtrArray *
device_change_wrongly(Device *device, guint changes, guint64 generation)
{
  return change(device, changes, generation, FALSE);
}

void
device_copy(const Device *device, const char *path)
{
  /* Not by rsync, which gives some ACLs another entry of the group. */
  rig_run("cp", "-a", device->path, path, NULL);
}

char *
device_differences(const char *from, const char *to)
{
  g_autofree char *source = g_strconcat(from, "/", NULL), *target = g_strconcat(to, "/", NULL);
  const char *const arguments[] = {
      "rsync", "-naHAX", "--numeric-ids", "--delete", "--checksum", "--modify-window=-1",
      "-i",    source,   target,          NULL};
  char *output = NULL;
  g_autofree char *complaint = NULL;
  int status = -1;
  g_autoptr(GError) error = NULL;
  g_spawn_sync(NULL, (char **)arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, &complaint, &status,
               &error);
  g_assert_no_error(error);
  if (status != 0)
    g_error("rsync: %s", complaint);
  return output;
}
