#include "cmd/detach.h"

#include <fcntl.h>
#include <unistd.h>

int
detach(void)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return -1;
  pid_t child = fork();
  if (child > 0) {
    char ready;
    close(ends[1]);
    _exit(read(ends[0], &ready, 1) == 1 ? 0 : 1);
  }
  close(ends[0]);
  if (child < 0) {
    close(ends[1]);
    return -1;
  }
  setsid();
  (void)!chdir("/");
  return ends[1];
}

void
detach_done(Fd *parent)
{
  if (*parent < 0)
    return;
  g_auto(Fd) null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    dup2(null, fd);
  (void)!write(*parent, "", 1);
  io_close(parent);
}
