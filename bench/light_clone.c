#include "light_clone.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "c2c/api.h"
#include "c2c/node_bind.h"
#include "doppel/c2c.h"
#include "identity/statement.h"
#include "link/link.h"
#include "link/pass.h"
#include "wire/c2c_control.pb-c.h"

enum { ANSWER_MS = 60000, START_TRIES = 6000, START_US = 10000, DAY = 86400 };
typedef enum { ROLE_ORIGIN, ROLE_RECOVERY, ROLE_CLONE, ROLE_DEVICE, ROLE_PROVIDER } Role;

static IdentityKey *
derive(Role role, guint number)
{
  g_autofree char *text = g_strdup_printf("light clone %d %u", role, number);
  guint8 secret[STATEMENT_HASH_LENGTH];
  statement_hash(text, strlen(text), secret);
  return identity_key_from_seed(secret);
}

static void
clone_id(guint number, guint8 id[RECORD_ID_LENGTH])
{
  memset(id, 0, RECORD_ID_LENGTH);
  id[0] = 1;
  memcpy(id + 4, &number, sizeof number);
}

LightClone *
light_clone_new(const char *folder, guint number, const char *name, const char *address)
{
  LightClone *clone = g_new0(LightClone, 1);
  clone->number = number;
  clone->name = g_strdup(name);
  clone->place = g_build_filename(folder, name, NULL);
  clone->socket = g_build_filename(clone->place, NODE_SOCKET, NULL);
  clone->store = g_build_filename(clone->place, "store", NULL);
  clone->address = g_strdup(address);
  if (g_mkdir_with_parents(clone->place, 0700) < 0)
    g_error("%s: %s", clone->place, g_strerror(errno));
  return clone;
}

void
light_clone_free(LightClone *clone)
{
  light_clone_stop(clone);
  g_free(clone->name);
  g_free(clone->place);
  g_free(clone->socket);
  g_free(clone->store);
  g_free(clone->address);
  g_free(clone);
}

/* ---- its processes ---- */

static char **
own_address(void *data)
{
  const LightClone *clone = data;
  /* A clone that is never dialled has to say something. */
  const char *listens = clone->address ? clone->address : "127.0.0.1:9";
  const char *one[] = {clone->told ? clone->told : listens, NULL};
  return g_strdupv((char **)one);
}

int
light_clone_run(LightClone *clone, NodeConfig *config)
{
  g_autoptr(IdentityKey) key = derive(ROLE_CLONE, clone->number);
  config->directory = clone->place;
  config->replica = clone->store;
  config->clone_name = clone->name;
  config->key = key;
  clone_id(clone->number, config->clone);
  return node_run(config);
}

static int
listen_at(const char *text)
{
  g_auto(GStrv) parts = g_strsplit(text, ":", 2);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(parts[1]))};
  int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (inet_pton(AF_INET, parts[0], &address.sin_addr) != 1 ||
      bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0)
    g_error("listening at %s: %s", text, g_strerror(errno));
  return fd;
}

static void
hand_over(int fd, int control_fd)
{
  LinkPreamble preamble;
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  if (fd < 0 || !link_preamble_read(fd, 1000, &preamble, NULL))
    return;
  wire_preamble_encode(bytes, &preamble);
  link_pass_send_with(control_fd, fd, bytes, sizeof bytes, NULL);
}

static void G_GNUC_NORETURN
run_host(LightClone *clone, pid_t parent, const Service *services, const ServiceTask *tasks)
{
  int ends[2], listener = clone->address ? listen_at(clone->address) : -1;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
    _exit(1);
  pid_t self = getpid();
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self)
      _exit(1);
    io_close(&listener);
    close(ends[0]);
    NodeConfig config = {
        .control_fd = ends[1], .services = services, .tasks = tasks, .addresses = own_address, .data = clone};
    _exit(light_clone_run(clone, &config));
  }
  close(ends[1]);
  for (;;) {
    struct pollfd fds[] = {{.fd = ends[0]}, {.fd = listener, .events = POLLIN}};
    poll(fds, 2, -1);
    if (fds[0].revents)
      _exit(1);
    g_auto(Fd) fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    hand_over(fd, ends[0]);
  }
}

void
light_clone_start(LightClone *clone, const Service *services, const ServiceTask *tasks)
{
  pid_t parent = getpid();
  g_unlink(clone->socket);
  fflush(NULL);
  clone->host = fork();
  if (clone->host < 0)
    g_error("fork: %s", g_strerror(errno));
  if (clone->host == 0)
    run_host(clone, parent, services, tasks);
  for (guint i = 0; i < START_TRIES; i++) {
    C2c *c2c = c2c_open(clone->socket, NULL);
    if (c2c) {
      c2c_close(c2c);
      return;
    }
    if (waitpid(clone->host, NULL, WNOHANG) != 0)
      break;
    g_usleep(START_US);
  }
  g_error("%s's node does not come", clone->name);
}

void
light_clone_stop(LightClone *clone)
{
  if (clone->host > 0) {
    kill(clone->host, SIGKILL);
    waitpid(clone->host, NULL, 0);
  }
  clone->host = 0;
}

/* ---- what it is asked ---- */

static int
keep_answer(const unsigned char *body, size_t length, int more, void *data)
{
  GBytes **answer = data;
  g_clear_pointer(answer, g_bytes_unref);
  *answer = g_bytes_new(body, length);
  return 0;
}

GBytes *
light_clone_ask(LightClone *clone, const char *verb, const void *body, gsize length)
{
  char *why = NULL;
  GBytes *answer = NULL;
  C2c *c2c = c2c_open(clone->socket, &why);
  if (!c2c || c2c_control(c2c, verb, body, length, ANSWER_MS, keep_answer, &answer, &why) < 0)
    g_error("%s: %s: %s", clone->name, verb, why ? why : g_strerror(errno));
  c2c_close(c2c);
  return answer;
}

IdentityPublic
light_clone_origin(const LightClone *clone)
{
  g_autoptr(IdentityKey) origin = derive(ROLE_ORIGIN, clone->number);
  return *identity_key_public(origin);
}

static Record *
make_record(const LightClone *clone, const DirectoryPlace *home)
{
  g_autoptr(IdentityKey) origin = derive(ROLE_ORIGIN, clone->number);
  g_autoptr(IdentityKey) recovery = derive(ROLE_RECOVERY, clone->number);
  g_autoptr(IdentityKey) key = derive(ROLE_CLONE, clone->number);
  g_autoptr(IdentityKey) device = derive(ROLE_DEVICE, clone->number), provider = derive(ROLE_PROVIDER, 0);
  /* The same for who comes again: of two bindings with one serial number the hash would decide. */
  gint64 day = clock_unix_time() / DAY * DAY;
  RecordBinding binding = {.origin = *identity_key_public(origin),
                           .name = clone->name,
                           .clone_key = *identity_key_public(key),
                           .device = *identity_key_public(device),
                           .provider = *identity_key_public(provider),
                           .directory = home->key,
                           .serial = 1,
                           .issued = day,
                           .expires = day + 2 * DAY};
  clone_id(clone->number, binding.clone);
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) root = record_sign_root(origin, identity_key_public(recovery));
  g_autoptr(GBytes) bound = record_sign_binding(origin, &binding);
  g_autoptr(GBytes) hosting = record_sign_hosting(provider, binding.clone, &binding.clone_key, day);
  Record *record = record_assemble(root, NULL, 0, bound, hosting, NULL, &error);
  if (!record)
    g_error("%s: %s", clone->name, error->message);
  return record;
}

void
light_clone_bind(LightClone *clone, const GPtrArray *places)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Record) record = make_record(clone, places->pdata[0]);
  g_autoptr(GBytes) body = node_bind_encode(record, places);
  gsize length;
  const void *bytes = g_bytes_get_data(body, &length);
  g_autoptr(GBytes) answer = light_clone_ask(clone, NODE_BIND_VERB, bytes, length);
  g_autoptr(NodeBound) bound =
      node_bound_decode(g_bytes_get_data(answer, NULL), g_bytes_get_size(answer), record, &error);
  if (!bound || bound->status != DIRECTORY_STATUS(OK))
    g_error("%s: registering: %s", clone->name, bound ? bound->message : error->message);
}

void
light_clone_permit(LightClone *clone, const char *subject, const char *service)
{
  guint8 bytes[512];
  Doppel__Wire__ControlPermit permit = DOPPEL__WIRE__CONTROL_PERMIT__INIT;
  permit.subject = (char *)subject;
  permit.service = (char *)service;
  g_assert(doppel__wire__control_permit__get_packed_size(&permit) <= sizeof bytes);
  gsize length = doppel__wire__control_permit__pack(&permit, bytes);
  g_autoptr(GBytes) answer = light_clone_ask(clone, "allow", bytes, length);
}

int
light_clone_dial(LightClone *clone, const char *user, const char *service)
{
  char *why = NULL;
  C2c *c2c = c2c_open(clone->socket, &why);
  int fd = c2c ? c2c_dial(c2c, user, service, &why) : -1;
  if (fd < 0)
    g_error("%s: %s: %s", clone->name, service, why ? why : g_strerror(errno));
  c2c_close(c2c);
  return fd;
}
