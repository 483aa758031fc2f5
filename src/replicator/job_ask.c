/* What this process asks for when it asks for a job: to be run as it would run it itself. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "replicator/job_client.h"

/* Of the device's limits only those that shape the program are the clone's as well: the rest are there to
 * protect the device. */
static const int shaping[] = {RLIMIT_STACK, RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_FSIZE};

static ProtobufCBinaryData
copy_text(const char *text)
{
  return (ProtobufCBinaryData){strlen(text), (guint8 *)strdup(text)};
}

static void
copy_texts(char *const *texts, gsize *count, ProtobufCBinaryData **list)
{
  *count = g_strv_length((char **)texts);
  *list = calloc(*count + 1, sizeof **list);
  for (gsize i = 0; i < *count; i++)
    (*list)[i] = copy_text(texts[i]);
}

static gint64
clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void
copy_limits(JobRequest *request)
{
  request->limit = calloc(G_N_ELEMENTS(shaping), sizeof *request->limit);
  for (gsize i = 0; i < G_N_ELEMENTS(shaping); i++) {
    struct rlimit limit;
    if (getrlimit(shaping[i], &limit) < 0)
      continue;
    Doppel__Wire__JobRlimit *copy = malloc(sizeof *copy);
    doppel__wire__job_rlimit__init(copy);
    copy->resource = shaping[i];
    copy->soft = limit.rlim_cur;
    copy->hard = limit.rlim_max;
    request->limit[request->n_limit++] = copy;
  }
}

static void
copy_user(JobRequest *request)
{
  mode_t mask = umask(0);
  umask(mask);
  request->uid = geteuid();
  request->gid = getegid();
  request->umask = mask;
  int count = MAX(getgroups(0, NULL), 0);
  gid_t *groups = calloc(count + 1, sizeof *groups);
  request->n_group = MAX(getgroups(count, groups), 0);
  request->group = groups;
}

static char *
find_program(const char *name, GError **error)
{
  g_autofree char *found = g_find_program_in_path(name);
  if (found)
    return g_canonicalize_filename(found, NULL);
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no program %s", name);
  return NULL;
}

JobRequest *
job_client_request(char *const *argv, GError **error)
{
  g_autofree char *program = find_program(argv[0], error);
  if (!program)
    return NULL;
  g_autofree char *directory = g_get_current_dir();
  g_auto(GStrv) variables = g_get_environ();
  char host[65] = "";
  gethostname(host, sizeof host - 1);
  JobRequest *request = malloc(sizeof *request);
  doppel__wire__job_request__init(request);
  request->path = copy_text(program);
  request->directory = copy_text(directory);
  copy_texts(argv, &request->n_argument, &request->argument);
  copy_texts(variables, &request->n_environment, &request->environment);
  copy_user(request);
  copy_limits(request);
  request->host_name = strdup(host);
  request->monotonic_ns = clock_ns(CLOCK_MONOTONIC);
  request->boottime_ns = clock_ns(CLOCK_BOOTTIME);
  return request;
}
