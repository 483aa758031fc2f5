/* Preloaded: somebody who saves $DOC_SAVES in a file just before another one is exchanged for it, once. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Exchange(int from_folder, const char *from, int to_folder, const char *to, unsigned flags);

int
renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
  static int saved;
  Exchange *exchange = (Exchange *)dlsym(RTLD_NEXT, "renameat2");
  const char *text = getenv("DOC_SAVES");
  if (text && (flags & RENAME_EXCHANGE) && !saved++) {
    int fd = open(to, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
      abort();
  }
  return exchange(from_folder, from, to_folder, to, flags);
}
