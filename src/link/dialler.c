#include "link/dialler.h"

#include <string.h>
#include <sys/epoll.h>

#include "base/error.h"
#include "identity/address.h"

#define STAGGER_NS   (250 * G_GINT64_CONSTANT(1000000))
#define PAUSE_MIN_NS (5 * G_GINT64_CONSTANT(1000000))
#define PAUSE_MAX_NS (2000 * G_GINT64_CONSTANT(1000000))

struct LinkDialler {
  char **addresses;
  int epoll_fd;
  gboolean active;
  GPtrArray *resolves; /* the names of this round, in order; the first `taken` have answered */
  guint taken;
  GArray *targets; /* of LinkTarget, in order; the first `tried` have been */
  GPtrArray *names;
  guint tried;
  gint64 next_at;
  gint64 pause;
  GError *failure;
};

static gboolean
check_addresses(const char *const *addresses, GError **error)
{
  if (!addresses || !addresses[0])
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "there is no address to dial");
  for (; *addresses; addresses++)
    if (!identity_address_check(*addresses, error))
      return FALSE;
  return TRUE;
}

LinkDialler *
link_dialler_new(const char *const *addresses, int epoll_fd, GError **error)
{
  if (!check_addresses(addresses, error))
    return NULL;
  LinkDialler *dialler = g_new0(LinkDialler, 1);
  dialler->addresses = g_strdupv((char **)addresses);
  dialler->epoll_fd = epoll_fd;
  dialler->resolves = g_ptr_array_new_with_free_func((GDestroyNotify)link_resolve_free);
  dialler->targets = g_array_new(FALSE, TRUE, sizeof(LinkTarget));
  dialler->names = g_ptr_array_new_with_free_func(g_free);
  return dialler;
}

void
link_dialler_set_addresses(LinkDialler *dialler, const char *const *addresses)
{
  if (!check_addresses(addresses, NULL))
    return;
  g_strfreev(dialler->addresses);
  dialler->addresses = g_strdupv((char **)addresses);
}

/* A look-up that goes on without us must not wake us. */
static void
drop_resolves(LinkDialler *dialler)
{
  for (guint i = dialler->taken; i < dialler->resolves->len; i++)
    if (link_resolve_fd(dialler->resolves->pdata[i]) >= 0)
      epoll_ctl(dialler->epoll_fd, EPOLL_CTL_DEL, link_resolve_fd(dialler->resolves->pdata[i]), NULL);
  g_ptr_array_set_size(dialler->resolves, 0);
  dialler->taken = 0;
}

/* Answers are taken as they come, whichever is first. */
static void
take_answers(LinkDialler *dialler)
{
  for (guint i = dialler->taken; i < dialler->resolves->len; i++) {
    LinkResolve *resolve = dialler->resolves->pdata[i];
    GError *error = NULL;
    int taken = link_resolve_take(resolve, dialler->targets, &error);
    if (taken == 0)
      continue;
    while (dialler->names->len < dialler->targets->len)
      g_ptr_array_add(dialler->names, g_strdup(link_resolve_address(resolve)));
    if (link_resolve_fd(resolve) >= 0)
      epoll_ctl(dialler->epoll_fd, EPOLL_CTL_DEL, link_resolve_fd(resolve), NULL);
    dialler->resolves->pdata[i] = dialler->resolves->pdata[dialler->taken];
    dialler->resolves->pdata[dialler->taken++] = resolve;
    if (taken < 0)
      link_dialler_failed(dialler, G_MAXINT64, error);
  }
}

void
link_dialler_free(LinkDialler *dialler)
{
  if (!dialler)
    return;
  g_strfreev(dialler->addresses);
  drop_resolves(dialler);
  g_ptr_array_free(dialler->resolves, TRUE);
  g_array_free(dialler->targets, TRUE);
  g_ptr_array_free(dialler->names, TRUE);
  g_clear_error(&dialler->failure);
  g_free(dialler);
}

static void
begin_round(LinkDialler *dialler)
{
  drop_resolves(dialler);
  dialler->active = TRUE;
  dialler->tried = 0;
  g_array_set_size(dialler->targets, 0);
  g_ptr_array_set_size(dialler->names, 0);
  for (char **address = dialler->addresses; *address; address++) {
    GError *error = NULL;
    LinkResolve *resolve = link_resolve_new(*address, &error);
    if (!resolve) {
      link_dialler_failed(dialler, G_MAXINT64, error);
      continue;
    }
    g_ptr_array_add(dialler->resolves, resolve);
    int fd = link_resolve_fd(resolve);
    if (fd >= 0)
      epoll_ctl(dialler->epoll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN});
  }
  take_answers(dialler);
}

void
link_dialler_start(LinkDialler *dialler, gint64 now)
{
  dialler->pause = 0;
  dialler->next_at = now;
  g_clear_error(&dialler->failure);
  begin_round(dialler);
}

void
link_dialler_stop(LinkDialler *dialler)
{
  dialler->active = FALSE;
  drop_resolves(dialler);
}

void
link_dialler_pause(LinkDialler *dialler, gint64 now)
{
  gint64 jitter = g_random_int_range(0, 1000);
  dialler->pause = CLAMP(dialler->pause * 2, PAUSE_MIN_NS, PAUSE_MAX_NS);
  dialler->next_at = now + dialler->pause + dialler->pause / 4 * jitter / 1000;
  begin_round(dialler);
}

gboolean
link_dialler_next(LinkDialler *dialler, gint64 now, LinkTarget *target, const char **address)
{
  if (!dialler->active)
    return FALSE;
  take_answers(dialler);
  if (now < dialler->next_at || dialler->tried >= dialler->targets->len)
    return FALSE;
  *target = g_array_index(dialler->targets, LinkTarget, dialler->tried);
  *address = dialler->names->pdata[dialler->tried];
  dialler->tried++;
  dialler->next_at = now + STAGGER_NS;
  return TRUE;
}

static int
weight(const GError *error)
{
  return g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED) ? 1 : 0;
}

void
link_dialler_failed(LinkDialler *dialler, gint64 now, GError *error)
{
  dialler->next_at = MIN(dialler->next_at, now);
  if (!dialler->failure || weight(error) > weight(dialler->failure)) {
    g_clear_error(&dialler->failure);
    dialler->failure = error;
  } else {
    g_error_free(error);
  }
}

gboolean
link_dialler_exhausted(const LinkDialler *dialler)
{
  return dialler->taken == dialler->resolves->len && dialler->tried == dialler->targets->len;
}

gint64
link_dialler_due(const LinkDialler *dialler)
{
  return dialler->active && dialler->tried < dialler->targets->len ? dialler->next_at : G_MAXINT64;
}

const GError *
link_dialler_failure(const LinkDialler *dialler)
{
  return dialler->failure;
}
