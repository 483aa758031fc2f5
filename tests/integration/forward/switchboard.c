/* A stand-in for a gateway and the clones behind it: joins who dials a service with who offers it, whatever
 * the user. "nobody" is a user that does not exist.
 *
 *   switchboard SOCKET [DIRECTORY REPLICA LIMITS]
 *
 * With the latter "run" is answered as a clone does, whose C2C directory and generations these are. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "c2c/local.h"
#include "c2c/services.h"

typedef struct {
  char *service;
  LocalCall *call;
} Offer;

static GPtrArray *offers;
static ServicePlace place = {.clone_name = "stand-in"};
static char *limits;

static Offer *
find(const char *service, const LocalCall *call)
{
  for (guint i = 0; i < offers->len; i++) {
    Offer *offer = offers->pdata[i];
    if (call ? offer->call == call : g_strcmp0(offer->service, service) == 0)
      return offer;
  }
  return NULL;
}

static void
run(LocalCall *call)
{
  const ServicePeer peer = {.name = (char *)"bob", .limits = limits};
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, "no sockets left");
    return;
  }
  if (fork() == 0) {
    close(ends[1]);
    signal(SIGCHLD, SIG_DFL); /* the sandbox waits for its own */
    _exit(run_run(ends[0], "run", &peer, &place));
  }
  close(ends[0]);
  local_call_connected(call, ends[1]);
}

static void
on_dial(LocalCall *call, const char *user, const char *service, void *data)
{
  Offer *offer = find(service, NULL);
  LocalFrom from = {.name = "bäcker", .service = service};
  int ends[2];
  if (strcmp(service, "run") == 0 && strcmp(user, "alice") == 0 && place.directory)
    run(call);
  else if (strcmp(service, "run") == 0 && strcmp(user, "mallory") == 0)
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_DENIED, "mallory does not allow it");
  else if (strcmp(user, "nobody") == 0)
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_USER, "no user is called \"nobody\"");
  else if (!offer)
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, "nobody offers that now");
  else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_FAILED, "no sockets left");
  else if (local_call_incoming(offer->call, &from, ends[0]))
    local_call_connected(call, ends[1]);
  else
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "too many wait");
}

static void
on_listen(LocalCall *call, const char *service, void *data)
{
  if (find(service, NULL)) {
    local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_BUSY, "it is offered already");
    return;
  }
  Offer *offer = g_new(Offer, 1);
  *offer = (Offer){g_strdup(service), call};
  g_ptr_array_add(offers, offer);
  local_call_offer(call);
}

static void
on_control(LocalCall *call, const char *verb, const guint8 *body, gsize length, void *data)
{
  local_call_refuse(call, DOPPEL__WIRE__C2C_REFUSAL__C2C_NO_SERVICE, "a switchboard only connects");
}

static void
on_gone(LocalCall *call, void *data)
{
  Offer *offer = find(NULL, call);
  if (!offer)
    return;
  g_ptr_array_remove_fast(offers, offer);
  g_free(offer->service);
  g_free(offer);
}

int
main(int argc, char **argv)
{
  static const LocalCallbacks callbacks = {on_dial, on_listen, on_control, on_gone};
  g_autoptr(GError) error = NULL;
  offers = g_ptr_array_new();
  signal(SIGCHLD, SIG_IGN);
  if (argc == 5) {
    place.directory = argv[2];
    place.replica = argv[3];
    limits = argv[4];
  }
  LocalServer *server =
      argc == 2 || argc == 5 ? local_server_new(argv[1], NULL, &callbacks, NULL, &error) : NULL;
  if (!server) {
    fprintf(stderr, "switchboard: %s\n", error ? error->message : "usage: switchboard SOCKET");
    return 2;
  }
  puts("ready");
  fflush(stdout);
  for (;;)
    g_main_context_iteration(NULL, TRUE);
}
