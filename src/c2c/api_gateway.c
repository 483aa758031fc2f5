#include "c2c/api_gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "c2c/api.h"

enum { WORDS_MAX = 1024 };

static const char *program = "doppel";

void
c2c_set_program(const char *named)
{
  program = named;
}

/* In the directory of the user's keys (identity/key.h): who has other keys has another clone. */
char *
c2c_gateway_socket(void)
{
  const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
  char *path = NULL;
  int length = -1;
  errno = ENOENT;
  if (state && *state == '/')
    length = asprintf(&path, "%s/doppel/c2c.socket", state);
  else if (home && *home == '/')
    length = asprintf(&path, "%s/.local/state/doppel/c2c.socket", home);
  return length < 0 ? NULL : path;
}

/* In the child of a program that may have threads: only what signal-safety(7) allows. */
static void
become_gateway(int words)
{
  int null = open("/dev/null", O_RDWR);
  if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(words, 2) < 0)
    _exit(127);
  syscall(SYS_close_range, 3u, ~0u, 0u);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGCHLD, SIG_DFL);
  execlp(program, "doppel", "gateway", "--background", (char *)NULL);
  _exit(127);
}

/* What it says on its standard error, until it has closed that. */
static void
read_words(int fd, char words[WORDS_MAX])
{
  size_t length = 0;
  char rest[256];
  for (;;) {
    ssize_t got = length < WORDS_MAX - 1 ? read(fd, words + length, WORDS_MAX - 1 - length)
                                         : read(fd, rest, sizeof rest);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    length += length < WORDS_MAX - 1 ? (size_t)got : 0;
  }
  while (length > 0 && words[length - 1] == '\n')
    length--;
  words[length] = '\0';
}

int
gateway_start(char **why)
{
  int ends[2], status = 0;
  char words[WORDS_MAX];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return -1;
  pid_t child = fork();
  if (child == 0)
    become_gateway(ends[1]);
  close(ends[1]);
  if (child > 0)
    read_words(ends[0], words);
  close(ends[0]);
  if (child < 0)
    return -1;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) {
      status = 0; /* the program has its children reaped by somebody else */
      break;
    }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return 0;
  const char *reason = WIFEXITED(status) && WEXITSTATUS(status) == 127 ? "the program \"doppel\" is not there"
                       : *words                                        ? words
                                                                       : "it ended without a word";
  if (why && asprintf(why, "the gateway to the own clone cannot be started: %s", reason) < 0)
    *why = NULL;
  errno = EHOSTUNREACH;
  return -1;
}
