#include "link/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "identity/address.h"

/* Shared with the thread. */
typedef struct {
  gatomicrefcount references;
  char *host, *port;
  int done_fd;
  gint done; /* atomic: what follows is complete */
  int result;
  struct addrinfo *found;
} Lookup;

struct LinkResolve {
  char *address;
  Lookup *lookup;
};

static void
lookup_unref(Lookup *lookup)
{
  if (!g_atomic_ref_count_dec(&lookup->references))
    return;
  if (lookup->found)
    freeaddrinfo(lookup->found);
  io_close(&lookup->done_fd);
  g_free(lookup->host);
  g_free(lookup->port);
  g_free(lookup);
}

static void
lookup_run(Lookup *lookup, int flags)
{
  struct addrinfo hints = {.ai_flags = flags | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  lookup->result = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->found);
}

static gpointer
lookup_thread(gpointer data)
{
  Lookup *lookup = data;
  lookup_run(lookup, AI_ADDRCONFIG);
  g_atomic_int_set(&lookup->done, 1);
  eventfd_write(lookup->done_fd, 1);
  lookup_unref(lookup);
  return NULL;
}

static gboolean
start_thread(Lookup *lookup, GError **error)
{
  lookup->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (lookup->done_fd < 0)
    return doppel_error_errno(error, "cannot look up %s", lookup->host);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  g_atomic_ref_count_inc(&lookup->references);
  g_autoptr(GError) problem = NULL;
  GThread *thread = g_thread_try_new("resolver", lookup_thread, lookup, &problem);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (thread) {
    g_thread_unref(thread);
    return TRUE;
  }
  lookup_unref(lookup);
  return doppel_error_set(error, DOPPEL_ERROR_FAILED, "cannot look up %s: %s", lookup->host,
                          problem->message);
}

LinkResolve *
link_resolve_new(const char *address, GError **error)
{
  g_autofree char *host = NULL;
  g_autofree char *port = NULL;
  if (!identity_address_split(address, &host, &port, error))
    return NULL;
  g_autoptr(LinkResolve) resolve = g_new0(LinkResolve, 1);
  Lookup *lookup = g_new0(Lookup, 1);
  resolve->address = g_strdup(address);
  resolve->lookup = lookup;
  g_atomic_ref_count_init(&lookup->references);
  lookup->host = g_steal_pointer(&host);
  lookup->port = g_steal_pointer(&port);
  lookup->done_fd = -1;
  lookup_run(lookup, AI_NUMERICHOST);
  if (lookup->result != EAI_NONAME)
    lookup->done = 1;
  else if (!start_thread(lookup, error))
    return NULL;
  return g_steal_pointer(&resolve);
}

void
link_resolve_free(LinkResolve *resolve)
{
  if (!resolve)
    return;
  lookup_unref(resolve->lookup);
  g_free(resolve->address);
  g_free(resolve);
}

int
link_resolve_fd(const LinkResolve *resolve)
{
  return resolve->lookup->done_fd;
}

const char *
link_resolve_address(const LinkResolve *resolve)
{
  return resolve->address;
}

int
link_resolve_take(LinkResolve *resolve, GArray *targets, GError **error)
{
  const Lookup *lookup = resolve->lookup;
  if (!g_atomic_int_get(&lookup->done))
    return 0;
  if (lookup->result != 0) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "cannot find the host of %s: %s", resolve->address,
                     lookup->result == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(lookup->result));
    return -1;
  }
  for (struct addrinfo *each = lookup->found; each; each = each->ai_next) {
    LinkTarget target = {.length = each->ai_addrlen};
    memcpy(&target.address, each->ai_addr, each->ai_addrlen);
    g_array_append_val(targets, target);
  }
  return 1;
}
