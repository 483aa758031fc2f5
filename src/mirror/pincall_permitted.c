/* The device's policy for calls that its clone asks it to make (the reasons stand in pincall.h). */
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "mirror/pincall_parts.h"

static const char *const default_prefixes[] = {"/dev/", "/sys/", NULL};

/* Names below the prefixes that lead elsewhere: to descriptors that are no pins, to files, to memory. */
static const char *const detours[] = {
    "/dev/fd",     "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/shm",
    "/dev/mqueue", "/dev/core",  "/dev/mem",    "/dev/kmem",   "/dev/port",
};

/* A path without empty and "." components; NULL where one is "..", or where the path is relative. */
static char *
plain_path(const char *path)
{
  if (path[0] != '/')
    return NULL;
  g_auto(GStrv) components = g_strsplit(path, "/", -1);
  g_autoptr(GString) plain = g_string_new(NULL);
  for (guint i = 0; components[i]; i++) {
    if (strcmp(components[i], "..") == 0)
      return NULL;
    if (components[i][0] != '\0' && strcmp(components[i], ".") != 0)
      g_string_append_printf(plain, "/%s", components[i]);
  }
  return g_string_free(g_steal_pointer(&plain), FALSE);
}

static gboolean
is_detour(const char *plain)
{
  for (guint i = 0; i < G_N_ELEMENTS(detours); i++) {
    gsize length = strlen(detours[i]);
    if (strncmp(plain, detours[i], length) == 0 && (plain[length] == '\0' || plain[length] == '/'))
      return TRUE;
  }
  return FALSE;
}

static gboolean
path_is_device(const char *path, const PinPolicy *policy)
{
  const char *const *prefixes = policy && policy->path_prefixes ? policy->path_prefixes : default_prefixes;
  g_autofree char *plain = plain_path(path);
  if (!plain || is_detour(plain))
    return FALSE;
  for (guint i = 0; prefixes[i]; i++) {
    gsize length = strlen(prefixes[i]);
    /* The directory itself, too: /dev */
    if (strncmp(plain, prefixes[i], length) == 0 ||
        (strlen(plain) + 1 == length && strncmp(plain, prefixes[i], length - 1) == 0))
      return TRUE;
  }
  return FALSE;
}

/* openat2's flags are the first member of what its third argument points to. */
static guint64
how_flags(const PinCall *call)
{
  guint64 flags = 0;
  gint at = pincall_find_region(call, 2, PIN_PART_WHOLE);
  if (at >= 0 && pincall_region(call, at)->in >= sizeof flags)
    memcpy(&flags, pincall_region(call, at)->bytes, sizeof flags);
  return flags;
}

/* Whether the call names its descriptor through a path argument that is empty or NULL. */
static gboolean
means_descriptor(const PinCall *call, const SyscallPath *path, const char *text)
{
  if (path->dirfd < 0 || call->args[path->dirfd] > G_MAXINT32)
    return FALSE;
  if (!text)
    return path->optional;
  return text[0] == '\0' && path->empty && path->flags >= 0 && call->args[path->flags] & AT_EMPTY_PATH;
}

static gboolean
path_is_permitted(const PinCall *call, guint index, const PinPolicy *policy)
{
  const SyscallPath *path = &call->row->paths[index];
  gint at = pincall_find_region(call, path->path, PIN_PART_WHOLE);
  const char *text = at >= 0 ? (const char *)pincall_region(call, at)->bytes : NULL;
  if (means_descriptor(call, path, text))
    return TRUE;
  guint use = syscall_path_use(call->row, index, call->args, how_flags(call));
  /* `>/dev/null` asks for the file to be made if need be; that alone is no reason to refuse it. */
  guint harmless = SYSCALL_PATH_LOOKS | SYSCALL_PATH_OPENS | SYSCALL_PATH_WRITES | SYSCALL_PATH_CREATES;
  return text && (use & ~harmless) == 0 && path_is_device(text, policy);
}

static gboolean
has_pin(const PinCall *call)
{
  for (guint arg = 0; arg < SYSCALL_ARGS; arg++)
    if (call->row->args[arg].kind == SYSCALL_ARG_FD)
      return call->args[arg] <= G_MAXINT32;
  return FALSE;
}

gboolean
pincall_permitted(const PinCall *call, const PinPolicy *policy, GError **error)
{
  const char *objection = pincall_objection(call);
  if (!objection && call->row->class == SYSCALL_FD && !has_pin(call))
    objection = "it names no pin";
  for (guint i = 0; i < 2 && !objection; i++)
    if (call->row->paths[i].use && !path_is_permitted(call, i, policy))
      objection = "it names a file that is no device";
  if (objection)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED, "the clone's system call %s was refused: %s",
                            call->row->name, objection);
  return TRUE;
}
