/* The service "run": a friend's program in this clone (CloneCloud's Augmenter over a stream of
 * Clone2Clone's).
 *
 * The program gets a sandbox with a root of its own (c2c/run_root.h): it sees this clone's programs and
 * nothing else of its owner's, has no network, and what it changes is in memory and goes home with it. It has
 * the permission's limits ("doppel allow USER run memory=2G,processes=16,cpu-share=50,time=600"); where there
 * are none, those below. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "augmenter/session.h"
#include "base/error.h"
#include "base/io.h"
#include "c2c/node_limits.h"
#include "c2c/run_root.h"
#include "c2c/services.h"
#include "link/engine.h"

#define MEMORY    (1ull << 30) /* bytes */
#define PROCESSES 64u
#define CPU_SHARE 100u /* percent of one processor */
#define SHARE_KEY "cpu-share="

enum { FAREWELL_MS = 5000 };

/* A key of this service's own (c2c/node_limits.h): percent of one processor. 0: nothing was said. */
static guint
cpu_share(const char *limits)
{
  g_auto(GStrv) entries = g_strsplit(limits, ",", -1);
  guint64 share = 0;
  for (char **entry = entries; *entry; entry++)
    if (g_str_has_prefix(*entry, SHARE_KEY))
      g_ascii_string_to_unsigned(*entry + strlen(SHARE_KEY), 10, 1, 100000, &share, NULL);
  return share;
}

static gboolean
set_limits(const char *words, AugmenterSession *session, GError **error)
{
  NodeLimits limits;
  guint share = cpu_share(words);
  if (!node_limits_parse(words, &limits, error))
    return FALSE;
  session->limits = (SandboxLimits){.memory_bytes = limits.memory ? limits.memory : MEMORY,
                                    .cpu_percent = share ? share : CPU_SHARE,
                                    .pids = limits.processes ? limits.processes : PROCESSES};
  session->changes_bytes = session->limits.memory_bytes / 2;
  return TRUE;
}

/* The friend's end hears it as any clone's. */
static int
refuse(Link *link, const GError *error)
{
  Doppel__Engine__Failure failure = DOPPEL__ENGINE__FAILURE__INIT;
  failure.reason = error->message;
  g_printerr("doppeld: run: %s\n", error->message);
  if (ENGINE_SEND(link, FAILURE, failure, &failure, NULL))
    link_flush(link, FAREWELL_MS, NULL);
  return 1;
}

int
run_run(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  g_autoptr(GError) error = NULL;
  g_auto(RunRoot) root = {0};
  g_autoptr(Link) link = link_new_local(fd);
  g_autofree char *tmp = g_build_filename(place->directory, "run", NULL);
  /* No later connection comes: the stream is the session. A clone that is not local has this all the same. */
  int control[2] = {-1, -1};
  AugmenterSession session = {.tmp = tmp, .clone_name = place->clone_name};
  memcpy(session.clone, place->clone, sizeof session.clone);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control) < 0)
    doppel_error_errno(&error, "the session cannot be made");
  else if (set_limits(peer->limits, &session, &error))
    run_root_make(place->directory, place->replica, &root, &error);
  session.root = root.path;
  session.control_fd = control[0];
  int status = error ? refuse(link, error) : augmenter_session(link, &session);
  io_close(&control[0]);
  io_close(&control[1]);
  return status;
}
