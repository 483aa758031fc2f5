/* Three calls of block(), each with a call on a pin and some memory; then the end that the argument names:
 * "exit", "kill" for one by a signal, "stay" for none. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static char memory[1 << 20];

/* The function that is named to doppel. Standard input is a pipe: how much waits in it, only the device
 * knows. */
__attribute__((noinline)) int
block(int number)
{
  int waiting = -1;
  memset(memory + number * 65536, number + 1, 65536);
  ioctl(0, FIONREAD, &waiting);
  printf("block %d: %d\n", number, waiting);
  fflush(stdout);
  return waiting;
}

int
main(int argc, char **argv)
{
  int sum = 0;
  for (int i = 0; i < 3; i++)
    sum += block(i);
  printf("%d\n", sum);
  fflush(stdout);
  if (argc > 1 && strcmp(argv[1], "kill") == 0)
    kill(getpid(), SIGTERM);
  while (argc > 1 && strcmp(argv[1], "stay") == 0)
    pause();
  return 5;
}
