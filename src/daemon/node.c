#include "daemon/node.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/node.h"
#include "c2c/send_receipt.h"
#include "c2c/services.h"
#include "daemon/own_addresses.h"
#include "link/pass.h"
#include "replicator/receive.h"

#define NS_PER_SECOND G_GINT64_CONSTANT(1000000000)

gint64
daemon_node_patience(guint failures)
{
  return NS_PER_SECOND << MIN(failures, 6);
}

gboolean
daemon_node_wanted(const DaemonState *state, const DaemonClone *clone)
{
  g_autofree char *directory = daemon_state_clone_c2c(state, clone->id);
  return g_file_test(directory, G_FILE_TEST_IS_DIR);
}

static char **
addresses(void *data)
{
  return daemon_own_addresses(data, RECORD_ADDRESSES_MAX);
}

static int
run(const DaemonWorkplace *place, const DaemonClone *clone, int control_fd, int programs_fd)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *directory = daemon_state_clone_c2c(place->state, clone->id);
  g_autofree char *replicas = daemon_state_clone_replica(place->state, clone->id);
  g_autofree char *replica = g_build_filename(replicas, REPLICATOR_STORE, NULL);
  g_autoptr(IdentityKey) key = daemon_state_clone_key(place->state, clone->id, &error);
  g_auto(GStrv) listening = NULL;
  if (key)
    listening =
        place->c2c_addresses ? g_strdupv(place->c2c_addresses) : daemon_state_listening(place->state, &error);
  daemon_state_rest(place->state);
  int watch = listening ? daemon_own_addresses_watch(&error) : -1;
  if (watch < 0)
    return daemon_fail("serve", error);
  NodeConfig config = {.directory = directory,
                       .replica = replica,
                       .clone_name = clone->name,
                       .key = key,
                       .control_fd = control_fd,
                       .programs_fd = MAX(programs_fd, 0),
                       .services = services,
                       .tasks = services_tasks,
                       .sign = send_receipt_sign,
                       .addresses = addresses,
                       .addresses_fd = watch,
                       .data = listening};
  memcpy(config.clone, clone->id, sizeof config.clone);
  return node_run(&config);
}

DaemonWorker *
daemon_node_start(const DaemonWorkplace *place, const DaemonClone *clone, GError **error)
{
  LinkPreamble preamble = {.purpose = WIRE_PURPOSE_PEER};
  int control_fd = -1;
  memcpy(preamble.clone, clone->id, sizeof preamble.clone);
  g_autoptr(GError) alone = NULL;
  int programs_fd = daemon_programs_socket(place->programs, place->state, clone, &alone);
  if (programs_fd < 0)
    daemon_fail("serve", alone);
  pid_t pid = daemon_worker_fork(place, programs_fd, &control_fd, error);
  if (pid == 0)
    _exit(run(place, clone, control_fd, programs_fd));
  if (pid < 0) {
    g_prefix_error(error, "cannot start the node of clone %s: ", clone->name);
    return NULL;
  }
  DaemonWorker *worker = daemon_worker_new(DAEMON_NODE, pid, control_fd, &preamble);
  worker->clone_name = g_strdup(clone->name);
  worker->proved = TRUE;
  worker->deadline = G_MAXINT64;
  return worker;
}

void
daemon_node_pass(const DaemonWorker *node, int fd, const LinkPreamble *preamble)
{
  g_auto(Fd) socket_fd = fd;
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  wire_preamble_encode(bytes, preamble);
  link_pass_send_with(node->control_fd, socket_fd, bytes, sizeof bytes, NULL);
}
