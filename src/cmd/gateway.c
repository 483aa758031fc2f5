/* doppel gateway: this device's way to the network of clones. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "agent/agent.h"
#include "base/error.h"
#include "base/io.h"
#include "c2c/api.h"
#include "c2c/gateway.h"
#include "cmd/cmd.h"
#include "cmd/detach.h"
#include "cmd/gateway.h"
#include "cmd/gateway_dial.h"
#include "identity/user.h"

static const char summary[] =
    "Connects this device's programs with the network of clones, through the own clone. Verbs and programs "
    "that use it\n(doppel send, doppel forward, programs with libdoppel-c2c) start this by themselves in the "
    "background; run it by hand to\nsee why it fails, or to say which of several clones.";

static const char description[] = "Examples:\n"
                                  "  doppel gateway --clone desk --idle 86400 &\n"
                                  "\n"
                                  "Exit status: 0 after it was idle; 1 with the reason.";

typedef struct {
  const char *clone;
  Fd parent; /* is told that programs can come; -1: nobody */
} Place;

static Link *
dial_clone(void *data, GError **error)
{
  return gateway_dial_clone(((const Place *)data)->clone, error);
}

static char **
where_clone(void *data)
{
  return gateway_where(((const Place *)data)->clone);
}

static gboolean
is_own_clone(const Link *link, void *data)
{
  return gateway_is_own(link, ((const Place *)data)->clone);
}

static void
tell_ready(void *data)
{
  detach_done(&((Place *)data)->parent);
}

static gboolean
run(Place *place, int idle_s, GError **error)
{
  char *path = c2c_gateway_socket();
  const GatewayConfig config = {.dial = dial_clone,
                                .where = where_clone,
                                .is_own = is_own_clone,
                                .data = place,
                                .socket = path,
                                .idle_s = idle_s,
                                .ready = tell_ready};
  gboolean good = path || doppel_error_errno(error, "the directory of this user's keys is not known");
  /* Which clone it is is known before any program waits for it. */
  g_autoptr(PairedClone) clone = !good          ? NULL
                                 : place->clone ? paired_find(place->clone, error)
                                                : user_clone(error);
  prctl(PR_SET_NAME, "doppel-gateway");
  signal(SIGPIPE, SIG_IGN);
  good = clone && gateway_run(&config, error);
  free(path);
  return good;
}

int
gateway_hold(void)
{
  Place place = {NULL, -1};
  g_autoptr(GError) error = NULL;
  if (run(&place, 0, &error))
    return AGENT_WORK_DONE;
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE))
    return AGENT_WORK_BUSY;
  cmd_fail("gateway", error);
  return AGENT_WORK_FAILED;
}

static int
serve(Place *place, int idle_s)
{
  g_autoptr(GError) error = NULL;
  gboolean good = run(place, idle_s, &error);
  /* Somebody else was faster: that is as good. */
  if (!good && place->parent >= 0 && g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE)) {
    tell_ready(place);
    return 0;
  }
  return good ? 0 : cmd_fail("gateway", error);
}

int
cmd_gateway(int argc, char **argv)
{
  gboolean background = FALSE;
  g_autofree char *clone = NULL;
  int idle = 600;
  const GOptionEntry options[] = {
      {"idle", 0, 0, G_OPTION_ARG_INT, &idle, "End when no program has been connected for so long (600)",
       "SECONDS"},
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &clone, "Which clone is one's own, where several are paired",
       "NAME"},
      {"background", 0, 0, G_OPTION_ARG_NONE, &background, "Return as soon as programs can connect", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new(NULL);
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, description);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 0))
    return 2;
  if (idle < 1) {
    fprintf(stderr, "doppel gateway: --idle takes a number of seconds from 1, not %d\n", idle);
    return 2;
  }
  Place place = {clone, -1};
  if (background && (place.parent = detach()) < 0) {
    perror("doppel gateway: cannot go into the background");
    return 1;
  }
  return serve(&place, idle);
}
