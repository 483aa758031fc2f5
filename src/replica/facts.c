#include "replica/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/path.h"
#include "replica/xattrs.h"

#define NS_PER_S 1000000000LL
/* Two ticks of the slowest kernel clock (HZ=100); a stamp on a whole second may come from a file system that
 * keeps no more. */
#define TICK_NS   (20 * 1000000LL)
#define COARSE_NS (2 * NS_PER_S)

/* Not in every linux/magic.h that we build with. */
#define CONFIGFS_MAGIC 0x62656570
#define FUSECTL_MAGIC  0x65735543
#define MQUEUE_MAGIC   0x19800202

static const long pseudo_file_systems[] = {
    PROC_SUPER_MAGIC,     SYSFS_MAGIC,      DEBUGFS_MAGIC,      TRACEFS_MAGIC,  CGROUP_SUPER_MAGIC,
    CGROUP2_SUPER_MAGIC,  SECURITYFS_MAGIC, SELINUX_MAGIC,      SMACK_MAGIC,    BPF_FS_MAGIC,
    PSTOREFS_MAGIC,       EFIVARFS_MAGIC,   DEVPTS_SUPER_MAGIC, BINFMTFS_MAGIC, NSFS_MAGIC,
    BINDERFS_SUPER_MAGIC, CONFIGFS_MAGIC,   FUSECTL_MAGIC,      MQUEUE_MAGIC,   HUGETLBFS_MAGIC,
    ANON_INODE_FS_MAGIC,  PIPEFS_MAGIC,     SOCKFS_MAGIC,
};

void
replica_facts_clear(ReplicaFacts *facts)
{
  g_free(facts->target);
  g_clear_pointer(&facts->xattrs, g_bytes_unref);
  *facts = (ReplicaFacts){0};
}

void
replica_facts_copy(ReplicaFacts *to, const ReplicaFacts *from)
{
  *to = *from;
  to->target = g_strdup(from->target);
  if (to->xattrs)
    g_bytes_ref(to->xattrs);
}

static ReplicaType
type_of(mode_t mode)
{
  switch (mode & S_IFMT) {
  case S_IFREG:
    return REPLICA_FILE;
  case S_IFDIR:
    return REPLICA_DIRECTORY;
  case S_IFLNK:
    return REPLICA_SYMLINK;
  case S_IFIFO:
    return REPLICA_FIFO;
  case S_IFSOCK:
    return REPLICA_SOCKET;
  case S_IFCHR:
    return REPLICA_CHARACTER_DEVICE;
  case S_IFBLK:
    return REPLICA_BLOCK_DEVICE;
  default:
    return REPLICA_ABSENT;
  }
}

void
replica_facts_from_stat(ReplicaFacts *facts, const struct stat *st)
{
  facts->type = type_of(st->st_mode);
  facts->mode = st->st_mode & 07777;
  facts->uid = st->st_uid;
  facts->gid = st->st_gid;
  facts->size = facts->type == REPLICA_FILE ? st->st_size : 0;
  facts->mtime_ns = st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
  facts->ctime_ns = st->st_ctim.tv_sec * NS_PER_S + st->st_ctim.tv_nsec;
  gboolean is_device = facts->type == REPLICA_CHARACTER_DEVICE || facts->type == REPLICA_BLOCK_DEVICE;
  facts->rdev = is_device ? st->st_rdev : 0;
  facts->nlink = st->st_nlink;
  facts->dev = st->st_dev;
  facts->ino = st->st_ino;
  facts->blocks = st->st_blocks;
  facts->directory_size = facts->type == REPLICA_DIRECTORY ? st->st_size : 0;
}

static int
fill_target(ReplicaFacts *facts, int directory, const char *name)
{
  char target[REPLICA_PATH_MAX];
  ssize_t length = readlinkat(directory, name, target, sizeof target);
  if (length < 0)
    return errno == EINVAL ? EAGAIN : errno;
  facts->target = g_strndup(target, length);
  return 0;
}

static int
fill_hash(ReplicaFacts *facts, int directory, const char *name, ReplicaHashes *hashes)
{
  g_auto(Fd) fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return errno == ELOOP ? EAGAIN : errno;
  if (!S_ISREG(st.st_mode))
    return EAGAIN;
  if (!replica_hashes_get(hashes, fd, &st, facts->hash))
    return errno;
  replica_facts_from_stat(facts, &st);
  facts->hashed = TRUE;
  return 0;
}

static gboolean
is_made_up(const struct statfs *fs)
{
  for (guint i = 0; i < G_N_ELEMENTS(pseudo_file_systems); i++)
    if ((guint32)fs->f_type == (guint32)pseudo_file_systems[i])
      return TRUE;
  return FALSE;
}

static gboolean
is_pseudo(const char *proc)
{
  struct statfs fs;
  return statfs(proc, &fs) == 0 && is_made_up(&fs);
}

gboolean
replica_facts_pseudo(int fd)
{
  struct statfs fs;
  return fstatfs(fd, &fs) < 0 || is_made_up(&fs);
}

static int
fill(ReplicaFacts *facts, int directory, const char *name, guint flags, ReplicaHashes *hashes)
{
  struct stat st;
  if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
    return errno;
  replica_facts_from_stat(facts, &st);
  char proc[REPLICA_PROC_MAX];
  replica_path_proc(proc, directory, name);
  if (facts->type == REPLICA_SYMLINK) {
    int failure = fill_target(facts, directory, name);
    return failure || !(flags & REPLICA_READ_ALL) ? failure : replica_xattrs_read(proc, TRUE, &facts->xattrs);
  }
  if ((flags & REPLICA_READ_PSEUDO) && (facts->type == REPLICA_FILE || facts->type == REPLICA_DIRECTORY))
    facts->pseudo = is_pseudo(proc);
  if (facts->pseudo)
    return 0;
  if ((flags & REPLICA_READ_HASH) && facts->type == REPLICA_FILE) {
    int failure = fill_hash(facts, directory, name, hashes);
    if (failure)
      return failure;
  }
  return replica_xattrs_read(proc, flags & REPLICA_READ_ALL, &facts->xattrs);
}

int
replica_facts_read_at(int directory, const char *name, guint flags, ReplicaHashes *hashes,
                      ReplicaFacts *facts)
{
  *facts = (ReplicaFacts){0};
  int failure = EAGAIN;
  for (guint tries = 0; tries < 4 && failure == EAGAIN; tries++) {
    replica_facts_clear(facts);
    failure = fill(facts, directory, name, flags, hashes);
  }
  if (failure)
    replica_facts_clear(facts);
  return failure;
}

int
replica_facts_read(int root, const char *path, guint flags, ReplicaHashes *hashes, ReplicaFacts *facts)
{
  *facts = (ReplicaFacts){0};
  const char *name;
  g_auto(Fd) parent = replica_path_open_parent(root, path, flags & REPLICA_READ_FOLLOW, &name);
  if (parent < 0)
    return errno;
  return replica_facts_read_at(parent, name, flags, hashes, facts);
}

static gboolean
ids_differ(guint32 a, guint32 b)
{
  return a != b && a != REPLICA_ID_UNMAPPED && b != REPLICA_ID_UNMAPPED;
}

guint
replica_facts_differ(const ReplicaFacts *a, const ReplicaFacts *b, guint what)
{
  guint differ = 0;
  if (a->type != b->type)
    differ |= REPLICA_FACT_TYPE;
  if (a->mode != b->mode && !(a->type == REPLICA_SYMLINK && b->type == REPLICA_SYMLINK))
    differ |= REPLICA_FACT_MODE;
  if (ids_differ(a->uid, b->uid) || ids_differ(a->gid, b->gid))
    differ |= REPLICA_FACT_OWNER;
  if (a->size != b->size)
    differ |= REPLICA_FACT_SIZE;
  if (a->mtime_ns != b->mtime_ns)
    differ |= REPLICA_FACT_MTIME;
  if (a->rdev != b->rdev)
    differ |= REPLICA_FACT_RDEV;
  if (g_strcmp0(a->target, b->target) != 0)
    differ |= REPLICA_FACT_TARGET;
  if (!replica_xattrs_equal(a->xattrs, b->xattrs))
    differ |= REPLICA_FACT_XATTRS;
  if (a->hashed && b->hashed && memcmp(a->hash, b->hash, sizeof a->hash) != 0)
    differ |= REPLICA_FACT_HASH;
  if (a->dev != b->dev || a->ino != b->ino || a->ctime_ns != b->ctime_ns)
    differ |= REPLICA_FACT_INODE;
  return differ & what;
}

gboolean
replica_facts_equal(const ReplicaFacts *a, const ReplicaFacts *b, guint what)
{
  return replica_facts_differ(a, b, what) == 0;
}

gboolean
replica_facts_racy(const ReplicaFacts *facts, gint64 read_ns)
{
  gint64 window = facts->ctime_ns % NS_PER_S == 0 ? COARSE_NS : TICK_NS;
  return facts->ctime_ns > read_ns - window;
}

gint64
replica_now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int
set_mtime(int directory, const char *name, gint64 mtime_ns)
{
  gint64 seconds = mtime_ns / NS_PER_S, rest = mtime_ns % NS_PER_S;
  if (rest < 0) {
    rest += NS_PER_S;
    seconds--;
  }
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = rest}};
  return utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
}

int
replica_facts_set(int directory, const char *name, const ReplicaFacts *facts, guint what)
{
  gboolean is_link = facts->type == REPLICA_SYMLINK, all = what & REPLICA_FACT_ALL_XATTRS;
  /* By descriptor: chmod() and setxattr() on a name would follow a link that was put there meanwhile. */
  g_auto(Fd) fd = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return errno;
  if (type_of(st.st_mode) != facts->type)
    return EAGAIN;
  char proc[REPLICA_PROC_MAX];
  replica_path_proc_fd(proc, fd);
  if ((what & REPLICA_FACT_OWNER) && (st.st_uid != facts->uid || st.st_gid != facts->gid) &&
      fchownat(fd, "", facts->uid, facts->gid, AT_EMPTY_PATH) < 0)
    return errno;
  if ((what & REPLICA_FACT_XATTRS) && (!is_link || all)) {
    replica_path_proc(proc, directory, name);
    int failure = replica_xattrs_write(proc, all, facts->xattrs);
    if (failure)
      return failure;
  }
  replica_path_proc_fd(proc, fd);
  if ((what & REPLICA_FACT_MODE) && !is_link && chmod(proc, facts->mode) < 0)
    return errno;
  return what & REPLICA_FACT_MTIME ? set_mtime(directory, name, facts->mtime_ns) : 0;
}
