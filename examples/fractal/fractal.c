/* A picture of the Mandelbrot set: a program that says itself which part of it is worth off-loading.
 *
 *   fractal WIDTH HEIGHT >picture.pgm
 *
 *   cc -O2 fractal.c -o fractal
 *   doppel run ./fractal 3000 2000 >picture.pgm */
#include <doppel/offload.h>
#include <stdio.h>
#include <stdlib.h>

#define BAND 32 /* lines that are computed at once */

enum { STEPS = 1000, SIDE_MAX = 30000 };

struct picture {
  int width, height;
};

static unsigned char
shade(double x, double y)
{
  double re = 0, im = 0;
  int steps = 0;
  for (; steps < STEPS && re * re + im * im < 4; steps++) {
    double next = re * re - im * im + x;
    im = 2 * re * im + y;
    re = next;
  }
  return steps == STEPS ? 0 : 255 - steps % 256;
}

/* Milliseconds of work for a few numbers, and a few kilobytes come back. */
static void
compute(const struct picture *picture, int first, int lines, unsigned char *pixels)
{
  DOPPEL_OFFLOAD;
  double step = 3.0 / picture->width;
  for (int line = first; line < first + lines; line++)
    for (int column = 0; column < picture->width; column++)
      *pixels++ = shade(column * step - 2.2, (line - picture->height / 2) * step);
}

static int
draw(const struct picture *picture)
{
  unsigned char *pixels = malloc((size_t)picture->width * BAND);
  if (!pixels)
    return -1;
  printf("P5 %d %d 255\n", picture->width, picture->height);
  for (int line = 0; line < picture->height; line += BAND) {
    int lines = picture->height - line < BAND ? picture->height - line : BAND;
    compute(picture, line, lines, pixels);
    fwrite(pixels, (size_t)picture->width, (size_t)lines, stdout);
  }
  free(pixels);
  return fflush(stdout);
}

int
main(int argc, char **argv)
{
  struct picture picture = {argc == 3 ? atoi(argv[1]) : 0, argc == 3 ? atoi(argv[2]) : 0};
  if (picture.width < 1 || picture.height < 1 || picture.width > SIDE_MAX || picture.height > SIDE_MAX)
    return fprintf(stderr, "write: fractal WIDTH HEIGHT, each from 1 to %d\n", SIDE_MAX), 2;
  if (draw(&picture) == 0)
    return 0;
  perror("fractal");
  return 1;
}
