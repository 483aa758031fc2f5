#include "replica/generation_facts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "replica/path.h"

#define STAND_IN "user.doppel.node"
#define SET_ID   06000

void
generation_losses_clear(GenerationLosses *losses)
{
  for (guint i = 0; i < GENERATION_LOST_KINDS; i++)
    g_free(losses->first[i]);
  *losses = (GenerationLosses){0};
}

void
generation_losses_add(GenerationLosses *losses, GenerationLost kind, const char *path)
{
  if (losses->count[kind]++ == 0)
    losses->first[kind] = g_strdup(path);
}

void
generation_losses_move(GenerationLosses *to, GenerationLosses *from)
{
  for (guint i = 0; i < GENERATION_LOST_KINDS; i++) {
    to->count[i] += from->count[i];
    if (!to->first[i])
      to->first[i] = g_steal_pointer(&from->first[i]);
  }
  generation_losses_clear(from);
}

/* ext4 says ENOSPC for an attribute that is larger than it can ever keep, too. */
static gboolean
too_large_for_it(int directory, int failure)
{
  struct statvfs status;
  return failure == ENOSPC && fstatvfs(directory, &status) == 0 && status.f_bavail > 1024 &&
         status.f_favail > 0;
}

static gboolean
refused(int directory, int failure)
{
  return failure == EPERM || failure == EINVAL || failure == EOPNOTSUPP || failure == ERANGE ||
         failure == E2BIG || too_large_for_it(directory, failure);
}

/* One after the other, where not all can be set. */
static int
set_what_can_be(int directory, const char *name, const ReplicaFacts *facts, const char *path,
                GenerationLosses *losses)
{
  ReplicaFacts as_kept = *facts;
  int failure = replica_facts_set(directory, name, &as_kept, REPLICA_FACT_OWNER);
  if (failure && refused(directory, failure)) {
    generation_losses_add(losses, GENERATION_LOST_OWNER, path);
    as_kept.mode &= ~(guint32)SET_ID;
    failure = 0;
  }
  if (!failure)
    failure = replica_facts_set(directory, name, &as_kept, REPLICA_FACT_XATTRS | REPLICA_FACT_ALL_XATTRS);
  if (failure && refused(directory, failure)) {
    generation_losses_add(losses, GENERATION_LOST_ATTRIBUTES, path);
    failure = 0;
  }
  return failure ? failure
                 : replica_facts_set(directory, name, &as_kept, REPLICA_FACT_MODE | REPLICA_FACT_MTIME);
}

int
generation_facts_set(int directory, const char *name, const ReplicaFacts *facts, const char *path,
                     GenerationLosses *losses)
{
  ReplicaFacts as_made = *facts;
  struct stat status;
  gboolean is_node = facts->type == REPLICA_CHARACTER_DEVICE || facts->type == REPLICA_BLOCK_DEVICE;
  if (is_node && fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode))
    as_made.type = REPLICA_FILE;
  int failure = replica_facts_set(directory, name, &as_made, REPLICA_FACT_METADATA | REPLICA_FACT_ALL_XATTRS);
  return failure && refused(directory, failure) ? set_what_can_be(directory, name, &as_made, path, losses)
                                                : failure;
}

static int
make_stand_in(int directory, const char *name, const ReplicaFacts *facts)
{
  g_auto(Fd) fd = openat(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
  char node[64];
  g_snprintf(node, sizeof node, "%c %u %u", facts->type == REPLICA_BLOCK_DEVICE ? 'b' : 'c',
             major(facts->rdev), minor(facts->rdev));
  if (fd < 0)
    return errno;
  return fsetxattr(fd, STAND_IN, node, strlen(node), 0) == 0 || errno == EOPNOTSUPP ? 0 : errno;
}

int
generation_node_make(int directory, const char *name, const ReplicaFacts *facts, gboolean *stands_in)
{
  *stands_in = FALSE;
  if (facts->type == REPLICA_SYMLINK)
    return symlinkat(facts->target, directory, name) < 0 ? errno : 0;
  if (facts->type == REPLICA_FIFO)
    return mknodat(directory, name, S_IFIFO | 0600, 0) < 0 ? errno : 0;
  mode_t type = facts->type == REPLICA_BLOCK_DEVICE ? S_IFBLK : S_IFCHR;
  gboolean is_whiteout = type == S_IFCHR && facts->rdev == makedev(0, 0);
  if (!is_whiteout && mknodat(directory, name, type | 0600, facts->rdev) == 0)
    return 0;
  if (!is_whiteout && errno != EPERM)
    return errno;
  *stands_in = TRUE;
  return make_stand_in(directory, name, facts);
}

void
generation_node_recognise(int directory, const char *name, ReplicaFacts *facts)
{
  char proc[REPLICA_PROC_MAX], node[64], type;
  unsigned int major_number, minor_number;
  if (facts->type != REPLICA_FILE || facts->size != 0)
    return;
  replica_path_proc(proc, directory, name);
  ssize_t length = lgetxattr(proc, STAND_IN, node, sizeof node - 1);
  if (length <= 0)
    return;
  node[length] = '\0';
  if (sscanf(node, "%c %u %u", &type, &major_number, &minor_number) != 3)
    return;
  facts->type = type == 'b' ? REPLICA_BLOCK_DEVICE : REPLICA_CHARACTER_DEVICE;
  facts->rdev = makedev(major_number, minor_number);
}
