/* doppel forward: TCP ports through the network of clones. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "c2c/api.h"
#include "c2c/forward.h"
#include "cmd/cmd.h"
#include "cmd/detach.h"
#include "cmd/forward_list.h"
#include "identity/address.h"

static const char summary[] =
    "Connections to PORT of this device reach a port of USER's device, through both clones: neither device "
    "needs an\naddress that the other can reach. The friend says which of their ports, with --accept, and to "
    "whom, with \"doppel allow\".";

static const char description[] =
    "Examples:\n"
    "  alice$ doppel allow bob forward:8000\n"
    "  alice$ doppel forward --accept 8000                    her web server, for those whom she allows it\n"
    "  alice$ doppel forward --accept 22 --to 192.168.1.7:22  another machine's, which she reaches\n"
    "  bob$   doppel forward 8080 alice:8000                  http://localhost:8080 is alice's now\n"
    "  bob$   doppel forward 0.0.0.0:8080 alice:8000          also for who reaches this device\n"
    "\n"
    "  bob$   doppel forward --background 8080 alice:8000     goes on behind; \"doppel forward --list\"\n"
    "\n"
    "It runs until it is interrupted, whatever becomes of the gateway and of the own clone meanwhile: what "
    "is "
    "lost is told,\nand offered again. A connection that the other side cannot take is cut off, with a line "
    "that says why.\n"
    "--json prints an object on a line for each event: \"ready\", \"opened\", \"failed\", \"closed\", "
    "\"lost\"; with\n--list an array of what is forwarded.";

static const char *const names[] = {"ready", "opened", "failed", "closed", "lost"};

/* What is done with events. */
typedef struct {
  gboolean json, accept;
  const char *far; /* as it was given; of an offer, where connections go to */
  Fd parent, lock; /* of the list */
} Teller;

static void
print_json(const ForwardEvent *event)
{
  g_autoptr(GString) json = g_string_new("{\"event\": ");
  json_append_string(json, names[event->kind]);
  if (event->connection)
    g_string_append_printf(json, ", \"connection\": %" G_GUINT64_FORMAT, event->connection);
  gboolean own = event->kind == FORWARD_READY || event->kind == FORWARD_LOST;
  g_string_append(json, own ? ", \"address\": " : ", \"peer\": ");
  json_append_string(json, event->peer);
  if (event->kind == FORWARD_CLOSED)
    g_string_append_printf(json, ", \"sent\": %" G_GUINT64_FORMAT ", \"received\": %" G_GUINT64_FORMAT,
                           event->sent, event->received);
  if (event->words) {
    g_string_append(json, ", \"error\": ");
    json_append_string(json, event->words);
  }
  puts(g_string_append_c(json, '}')->str);
}

static void
print_words(const Teller *teller, const ForwardEvent *event)
{
  if (event->kind == FORWARD_READY && teller->accept)
    printf("offering port %s to those who are allowed forward:%s\n", event->peer, event->peer);
  else if (event->kind == FORWARD_READY)
    printf("listening at %s\n", event->peer);
  else if (event->kind == FORWARD_LOST)
    fprintf(stderr, "doppel forward: nobody reaches port %s for now, it is tried again: %s\n", event->peer,
            event->words);
  else if (event->words)
    fprintf(stderr, "doppel forward: connection %" G_GUINT64_FORMAT " of %s: %s\n", event->connection,
            event->peer, event->words);
}

static void
tell(const ForwardEvent *event, void *data)
{
  Teller *teller = data;
  g_autoptr(GError) error = NULL;
  if (teller->json)
    print_json(event);
  else
    print_words(teller, event);
  if (event->kind == FORWARD_READY && teller->lock < 0 &&
      !forward_list_enter(teller->accept, event->peer, teller->far, &teller->lock, &error))
    fprintf(stderr, "doppel forward: %s\n", error->message);
  fflush(stdout);
  if (event->kind == FORWARD_READY)
    detach_done(&teller->parent);
}

static gboolean
is_port(const char *text, guint64 least)
{
  guint64 number;
  return g_ascii_string_to_unsigned(text, 10, least, 65535, &number, NULL);
}

/* [ADDRESS:]PORT, where this device listens unless it is asked for more only for itself. */
static gboolean
split_own(const char *text, char **host, char **port, GError **error)
{
  const char *colon = strrchr(text, ':');
  if (is_port(text, 0) || (colon && strcmp(colon, ":0") == 0)) {
    *host = colon ? g_strndup(text, colon - text) : g_strdup("127.0.0.1");
    *port = g_strdup(colon ? colon + 1 : text);
    return TRUE;
  }
  return identity_address_split(text, host, port, error);
}

static gboolean
split_user(const char *text, char **user, const char **port, GError **error)
{
  const char *colon = strrchr(text, ':');
  if (!colon || colon == text || !is_port(colon + 1, 1))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "\"%.80s\" is not a port of a user: write USER:PORT",
                            text);
  *user = g_strndup(text, colon - text);
  *port = colon + 1;
  return TRUE;
}

static gboolean
run_out(const char *own, const char *far, Teller *teller, GError **error)
{
  g_autofree char *host = NULL, *port = NULL, *user = NULL;
  const char *far_port = NULL;
  teller->far = far;
  return split_own(own, &host, &port, error) && split_user(far, &user, &far_port, error) &&
         forward_out(host, port, user, far_port, tell, teller, error);
}

static gboolean
run_in(const char *port, const char *to, Teller *teller, GError **error)
{
  g_autofree char *host = NULL, *host_port = NULL;
  if (!is_port(port, 1))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "\"%.80s\" is not a port: write a number from 1 to 65535", port);
  if (to && !identity_address_split(to, &host, &host_port, error))
    return FALSE;
  g_autofree char *local = g_strconcat("127.0.0.1:", port, NULL);
  teller->far = to ? to : local;
  teller->accept = TRUE;
  return forward_in(port, to ? host : "127.0.0.1", to ? host_port : port, tell, teller, error);
}

static int
run(const char *accept, const char *to, gboolean background, gboolean json, char **words)
{
  g_autoptr(GError) error = NULL;
  Teller teller = {.json = json, .parent = -1, .lock = -1};
  signal(SIGPIPE, SIG_IGN);
  c2c_set_program("/proc/self/exe");
  if (background && (teller.parent = detach()) < 0) {
    perror("doppel forward: cannot go into the background");
    return 1;
  }
  if (accept)
    run_in(accept, to, &teller, &error);
  else
    run_out(words[0], words[1], &teller, &error);
  if (teller.lock >= 0)
    forward_list_leave();
  return cmd_fail("forward", error);
}

int
cmd_forward(int argc, char **argv)
{
  g_autofree char *accept = NULL, *to = NULL;
  gboolean json = FALSE, background = FALSE, list = FALSE;
  const GOptionEntry options[] = {
      {"accept", 0, 0, G_OPTION_ARG_STRING, &accept, "Offer this device's port to those whom you allow it",
       "PORT"},
      {"to", 0, 0, G_OPTION_ARG_STRING, &to, "With --accept: connect to HOST:PORT (127.0.0.1:PORT)",
       "HOST:PORT"},
      {"background", 0, 0, G_OPTION_ARG_NONE, &background, "Return as soon as connections can come", NULL},
      {"list", 0, 0, G_OPTION_ARG_NONE, &list, "List the ports that are forwarded now, and by which process",
       NULL},
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print each event, or the list, as JSON", NULL},
      {NULL},
  };
  GOptionContext *context = g_option_context_new("[[ADDRESS:]PORT USER:PORT]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, description);
  g_option_context_add_main_entries(context, options, NULL);
  if (!cmd_parse(context, &argc, &argv, 0, 2))
    return 2;
  if ((accept || list ? argc != 1 : argc != 3) || (to && !accept) || (list && (accept || background))) {
    fputs("doppel forward: give [ADDRESS:]PORT USER:PORT, or --accept PORT [--to HOST:PORT], or --list\n",
          stderr);
    return 2;
  }
  if (!list)
    return run(accept, to, background, json, argv + 1);
  g_autoptr(GError) error = NULL;
  return forward_list_print(json, &error) ? 0 : cmd_fail("forward", error);
}
