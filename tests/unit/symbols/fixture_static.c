/* A static program: its own functions and the C library's in one table. */
#include <string.h>

__attribute__((noinline)) int
static_work(const char *text)
{
  return (int)strlen(text);
}

int
main(int argc, char **argv)
{
  return static_work(argv[0]) == argc;
}
