/* How the program was started: what it is executed with again, wherever it goes on. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "controller/checkpoints.h"

static ProtobufCBinaryData
copy_bytes(const void *bytes, gsize length)
{
  return (ProtobufCBinaryData){length, g_memdup2(length ? bytes : "", MAX(length, 1))};
}

static void
read_vector(MirrorProcess *process, const char *name, gsize *count, ProtobufCBinaryData **list)
{
  g_auto(Fd) fd = openat(process->directory, name, O_RDONLY | O_CLOEXEC);
  g_autoptr(GByteArray) all = g_byte_array_new();
  guint8 piece[65536];
  ssize_t got;
  while (fd >= 0 && (got = read(fd, piece, sizeof piece)) > 0)
    g_byte_array_append(all, piece, got);
  for (guint at = 0; at < all->len;) {
    gsize length = strnlen((const char *)all->data + at, all->len - at);
    *list = g_realloc_n(*list, *count + 1, sizeof **list);
    (*list)[(*count)++] = copy_bytes(all->data + at, length);
    at += length + 1;
  }
}

static const char *
field(const char *status, const char *name)
{
  const char *at = status ? strstr(status, name) : NULL;
  return at ? at + strlen(name) : "";
}

/* "\nUid:\treal\teffective..." */
static guint32
effective(const char *status, const char *name)
{
  char *end;
  strtoul(field(status, name), &end, 10);
  return strtoul(end, NULL, 10);
}

static void
read_groups(Doppel__Wire__JobRequest *request, const char *status)
{
  char *end;
  for (const char *at = field(status, "\nGroups:\t"); *at && *at != '\n'; at = end) {
    guint32 group = strtoul(at, &end, 10);
    if (end == at)
      return;
    request->group = g_realloc_n(request->group, request->n_group + 1, sizeof *request->group);
    request->group[request->n_group++] = group;
    while (*end == ' ')
      end++;
  }
}

/* Of the device's limits those that shape the program: the rest are there to protect the device. */
static void
read_limits(Doppel__Wire__JobRequest *request, pid_t pid)
{
  static const int shaping[] = {RLIMIT_STACK, RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_FSIZE};
  request->limit = g_new(Doppel__Wire__JobRlimit *, G_N_ELEMENTS(shaping));
  for (gsize i = 0; i < G_N_ELEMENTS(shaping); i++) {
    struct rlimit limit;
    if (prlimit(pid, shaping[i], NULL, &limit) < 0)
      continue;
    Doppel__Wire__JobRlimit *copy = g_new(Doppel__Wire__JobRlimit, 1);
    doppel__wire__job_rlimit__init(copy);
    copy->resource = shaping[i];
    copy->soft = limit.rlim_cur;
    copy->hard = limit.rlim_max;
    request->limit[request->n_limit++] = copy;
  }
}

static gboolean
read_link(MirrorProcess *process, const char *name, ProtobufCBinaryData *to, GError **error)
{
  char path[4096];
  ssize_t length = readlinkat(process->directory, name, path, sizeof path);
  if (length <= 0 || length == sizeof path)
    return doppel_error_errno(error, "cannot read the program's %s", name);
  *to = copy_bytes(path, (gsize)length);
  return TRUE;
}

gboolean
checkpoints_know_request(Controller *controller, GError **error)
{
  Checkpoints *checkpoints = controller->checkpoints;
  MirrorProcess *process = controller->process;
  if (checkpoints->request)
    return TRUE;
  Doppel__Wire__JobRequest *request = checkpoints->request = g_new(Doppel__Wire__JobRequest, 1);
  doppel__wire__job_request__init(request);
  char host[65] = "";
  gethostname(host, sizeof host - 1);
  g_autofree char *status = io_read_file_at(process->directory, "status", 1 << 16);
  request->host_name = g_strdup(host);
  request->uid = effective(status, "\nUid:");
  request->gid = effective(status, "\nGid:");
  request->umask = strtoul(field(status, "\nUmask:"), NULL, 8);
  read_groups(request, status);
  read_limits(request, process->pid);
  read_vector(process, "cmdline", &request->n_argument, &request->argument);
  read_vector(process, "environ", &request->n_environment, &request->environment);
  if (!request->n_argument) {
    request->argument = g_new(ProtobufCBinaryData, 1);
    request->argument[request->n_argument++] = copy_bytes("", 0);
  }
  return read_link(process, "exe", &request->path, error) &&
         read_link(process, "cwd", &request->directory, error);
}
