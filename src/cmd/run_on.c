#include "cmd/run_on.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "c2c/api.h"

#define SERVICE "run"

/* Who is not known, or does not allow it, is no reason to run the program here; one whose clone is away is.
 */
static Link *
reach(void *data, GError **error)
{
  const char *user = data;
  char *why = NULL;
  C2c *c2c = c2c_open(NULL, &why);
  int fd = c2c ? c2c_dial(c2c, user, SERVICE, &why) : -1, number = errno;
  c2c_close(c2c);
  if (fd < 0)
    doppel_error_set(error,
                     number == ENOENT || number == EACCES || number == EINVAL ? DOPPEL_ERROR_NOT_FOUND
                                                                              : DOPPEL_ERROR_GONE,
                     "the program cannot run in the clone of %s: %s", user, why ? why : strerror(number));
  free(why);
  return fd < 0 ? NULL : link_new_local(fd);
}

/* What is learned of the clone is kept in files of that name, which no paired clone has. */
static char *
name_of(const char *user)
{
  g_autofree char *escaped = g_uri_escape_string(user, NULL, FALSE);
  return g_strconcat("@", escaped, NULL);
}

int
run_on(const RunVerb *verb, const RunOptions *options, const char *user)
{
  g_autofree char *name = name_of(user), *wanted = g_strdup(user);
  if (!*user) {
    fputs("doppel run: --on takes the name of a user\n", stderr);
    return 2;
  }
  c2c_set_program("/proc/self/exe");
  /* A clone that is away is one thing; a device that has none to reach others through is another. */
  g_autofree char *why = NULL;
  C2c *c2c = c2c_open(NULL, &why);
  if (!c2c) {
    fprintf(stderr, "doppel run: %s\n", why ? why : strerror(errno));
    return 1;
  }
  c2c_close(c2c);
  RunOptions there = *options;
  there.whole = TRUE;
  there.clone = name;
  there.keep_s = 0;
  there.reach = reach;
  there.reach_data = wanted;
  return run_options_run(verb, &there);
}
