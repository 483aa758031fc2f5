#include "c2c/spawner.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/node_limits.h"
#include "c2c/spawner_private.h"
#include "link/pass.h"
#include "wire/c2c_control.pb-c.h"

struct Spawner {
  int control_fd;
  pid_t zygote;
  const Service *services;
  GArray *running; /* of Running */
  guint64 last;
};

typedef struct {
  guint64 id;
  IdentityPublic origin;
  gboolean open; /* as ServicePeer has it */
} Running;

const Service *
spawner_find(const Service *services, const char *service)
{
  for (; services->name; services++) {
    gsize length = strlen(services->name);
    gboolean family = length > 0 && services->name[length - 1] == ':';
    if (family ? strncmp(service, services->name, length) == 0 && service[length]
               : strcmp(service, services->name) == 0)
      return services;
  }
  return NULL;
}

/* In the child: no descriptor and no signal of the node's stays. */
static void
become_zygote(int control_fd, pid_t parent, const Service *services, const ServiceTask *tasks,
              const ServicePlace *place)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(1);
  if (control_fd > 3)
    close_range(3, control_fd - 1, 0);
  close_range(control_fd + 1, ~0u, 0);
  prctl(PR_SET_NAME, "doppeld-zygote");
  spawner_zygote(control_fd, services, tasks, place);
}

Spawner *
spawner_new(const Service *services, const ServiceTask *tasks, const ServicePlace *place, GError **error)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
    doppel_error_errno(error, "cannot start services");
    return NULL;
  }
  pid_t parent = getpid(), pid = fork();
  if (pid == 0)
    become_zygote(ends[1], parent, services, tasks, place);
  int saved = errno;
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    errno = saved;
    doppel_error_errno(error, "cannot start services");
    return NULL;
  }
  Spawner *spawner = g_new0(Spawner, 1);
  spawner->control_fd = ends[0];
  spawner->zygote = pid;
  spawner->services = services;
  spawner->running = g_array_new(FALSE, FALSE, sizeof(Running));
  return spawner;
}

void
spawner_free(Spawner *spawner)
{
  if (!spawner)
    return;
  /* The zygote ends its processes when nobody is at the other end any more, and then itself. */
  io_close(&spawner->control_fd);
  while (waitpid(spawner->zygote, NULL, 0) < 0 && errno == EINTR)
    ;
  g_array_unref(spawner->running);
  g_free(spawner);
}

const Service *
spawner_service(const Spawner *spawner, const char *service)
{
  return spawner_find(spawner->services, service);
}

static guint
count_of(const Spawner *spawner, const IdentityPublic *origin)
{
  guint count = 0;
  for (guint i = 0; i < spawner->running->len; i++)
    count += identity_public_equal(&g_array_index(spawner->running, Running, i).origin, origin);
  return count;
}

/* However many users somebody has made, and however soon they leave: others' services, and the owner's, have
 * their place. A process may go on for some time after its stream, so that counting streams would not do. */
static gboolean
check_open(const Spawner *spawner, const IdentityPublic *origin, const NodeLimits *limits, GError **error)
{
  guint all = 0, theirs = 0;
  for (guint i = 0; i < spawner->running->len; i++) {
    const Running *running = &g_array_index(spawner->running, Running, i);
    all += running->open;
    theirs += running->open && identity_public_equal(&running->origin, origin);
  }
  if (limits->streams && theirs >= limits->streams)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "you have as many conversations here as you may");
  return all < SERVICE_OPEN_MAX ||
         doppel_error_set(error, DOPPEL_ERROR_GONE, "too many ask here at present: try again later");
}

static gboolean
check_start(const Spawner *spawner, const char *service, const ServicePeer *peer, NodeLimits *limits,
            GError **error)
{
  const Service *found = spawner_find(spawner->services, service);
  if (!found)
    return doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "there is no service %.80s here", service);
  if (found->owner_only && !peer->owner)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "%.80s is for the clone's owner only", service);
  if (!node_limits_parse(peer->limits, limits, error))
    return FALSE;
  if (spawner->running->len >= SPAWNER_PROCESSES ||
      count_of(spawner, &peer->origin) >= (peer->owner ? SPAWNER_PER_OWNER : SPAWNER_PER_PEER))
    return doppel_error_set(error, DOPPEL_ERROR_GONE,
                            "too many conversations are under way here: try again later");
  return !peer->open || check_open(spawner, &peer->origin, limits, error);
}

static gboolean
send_request(Spawner *spawner, int fd, const Doppel__Wire__SpawnRequest *request, GError **error)
{
  guint8 bytes[SPAWNER_MESSAGE_MAX];
  gsize length = doppel__wire__spawn_request__get_packed_size(request);
  if (length > sizeof bytes)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "the service's name is too long");
  doppel__wire__spawn_request__pack(request, bytes);
  return link_pass_send_with(spawner->control_fd, fd, bytes, length, error);
}

guint64
spawner_start(Spawner *spawner, int fd, const char *service, const ServicePeer *peer, GError **error)
{
  g_auto(Fd) socket_fd = fd;
  NodeLimits limits;
  if (!check_start(spawner, service, peer, &limits, error))
    return 0;
  Doppel__Wire__SpawnRequest request = DOPPEL__WIRE__SPAWN_REQUEST__INIT;
  request.id = spawner->last + 1;
  request.service = (char *)service;
  request.name = peer->name;
  request.origin = (ProtobufCBinaryData){sizeof peer->origin.bytes, (guint8 *)peer->origin.bytes};
  request.clone_key = (ProtobufCBinaryData){sizeof peer->clone_key.bytes, (guint8 *)peer->clone_key.bytes};
  request.owner = peer->owner;
  request.limits = peer->limits;
  request.memory = limits.memory ? limits.memory : SPAWNER_MEMORY;
  request.seconds = limits.seconds ? limits.seconds : SPAWNER_SECONDS;
  request.cpu_seconds = limits.cpu_seconds;
  if (!send_request(spawner, socket_fd, &request, error))
    return 0;
  g_array_append_val(spawner->running, ((Running){++spawner->last, peer->origin, peer->open}));
  return spawner->last;
}

void
spawner_begin_tasks(Spawner *spawner)
{
  spawner_stop(spawner, SPAWNER_TASKS);
}

void
spawner_stop(Spawner *spawner, guint64 id)
{
  Doppel__Wire__SpawnRequest request = DOPPEL__WIRE__SPAWN_REQUEST__INIT;
  request.id = id;
  send_request(spawner, -1, &request, NULL);
}

guint
spawner_running(const Spawner *spawner)
{
  return spawner->running->len;
}

int
spawner_fd(const Spawner *spawner)
{
  return spawner->control_fd;
}

gboolean
spawner_next_exit(Spawner *spawner, SpawnerExit *out, gboolean *lost)
{
  guint8 bytes[SPAWNER_MESSAGE_MAX];
  gsize length;
  g_auto(Fd) fd = -1;
  int got = link_pass_receive_with(spawner->control_fd, &fd, bytes, sizeof bytes, &length);
  *lost = got < 0;
  if (got <= 0)
    return FALSE;
  Doppel__Wire__SpawnExit *message = doppel__wire__spawn_exit__unpack(NULL, length, bytes);
  if (!message)
    return FALSE;
  *out = (SpawnerExit){message->id, message->status, message->signal, message->overtime, message->refused};
  doppel__wire__spawn_exit__free_unpacked(message, NULL);
  for (guint i = 0; i < spawner->running->len; i++)
    if (g_array_index(spawner->running, Running, i).id == out->id) {
      g_array_remove_index_fast(spawner->running, i);
      return TRUE;
    }
  return FALSE;
}
