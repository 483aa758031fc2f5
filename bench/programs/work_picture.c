#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "programs/work.h"

enum { WIDTH = 1280, HEIGHT = 960, SCALE = 8, SIDE_MAX = 8192 };

typedef struct {
  struct jpeg_error_mgr manager; /* first: libjpeg knows only this */
  jmp_buf back;
} Errors;

static void
give_up(j_common_ptr jpeg)
{
  longjmp(((Errors *)jpeg->err)->back, 1);
}

static void
say_nothing(j_common_ptr jpeg)
{
}

static struct jpeg_error_mgr *
errors_prepare(Errors *errors)
{
  struct jpeg_error_mgr *manager = jpeg_std_error(&errors->manager);
  manager->error_exit = give_up;
  manager->output_message = say_nothing;
  return manager;
}

static void
begin_output(struct jpeg_compress_struct *out, guint width, guint height, int quality, unsigned char **data,
             unsigned long *length)
{
  jpeg_mem_dest(out, data, length);
  out->image_width = width;
  out->image_height = height;
  out->input_components = 3;
  out->in_color_space = JCS_RGB;
  jpeg_set_defaults(out);
  jpeg_set_quality(out, quality, TRUE);
  jpeg_start_compress(out, TRUE);
}

static gboolean
begin_input(struct jpeg_decompress_struct *in, const guint8 *jpeg, gsize length)
{
  jpeg_mem_src(in, jpeg, length);
  if (jpeg_read_header(in, TRUE) != JPEG_HEADER_OK || in->image_width > SIDE_MAX ||
      in->image_height > SIDE_MAX)
    return FALSE;
  in->out_color_space = JCS_RGB;
  in->scale_num = 1;
  in->scale_denom = SCALE;
  return jpeg_start_decompress(in);
}

__attribute__((noinline)) gsize
work_picture(const guint8 *jpeg, gsize length, guint8 *thumbnail, gsize room)
{
  struct jpeg_decompress_struct in = {0};
  struct jpeg_compress_struct out = {0};
  Errors errors;
  unsigned char *volatile grown = NULL; /* libjpeg's own memory, where the room was too small */
  unsigned char *data = thumbnail;
  unsigned long written = room;
  volatile gsize result = 0;
  in.err = out.err = errors_prepare(&errors);
  if (setjmp(errors.back) == 0) {
    jpeg_create_decompress(&in);
    jpeg_create_compress(&out);
    if (begin_input(&in, jpeg, length)) {
      JSAMPARRAY row =
          in.mem->alloc_sarray((j_common_ptr)&in, JPOOL_IMAGE, in.output_width * in.output_components, 1);
      begin_output(&out, in.output_width, in.output_height, 80, &data, &written);
      while (in.output_scanline < in.output_height) {
        jpeg_read_scanlines(&in, row, 1);
        jpeg_write_scanlines(&out, row, 1);
      }
      jpeg_finish_compress(&out);
      grown = data != thumbnail ? data : NULL;
      result = grown ? 0 : written;
    }
  }
  jpeg_destroy_compress(&out);
  jpeg_destroy_decompress(&in);
  free(grown);
  return result;
}

/* Slopes, edges and a little noise, as photographs have them. */
static void
draw_row(guint32 seed, guint32 *noise, guint y, guint8 *row)
{
  for (guint x = 0; x < WIDTH; x++) {
    *noise = *noise * 1664525 + 1013904223;
    guint32 spot = ((x + seed * 37) / 96 ^ (y + seed * 91) / 80) & 1 ? 40 : 0;
    for (guint channel = 0; channel < 3; channel++)
      row[3 * x + channel] =
          (guint8)((x * (channel + 1) / 16 + y / 8 + seed + spot + (*noise >> (24 - channel) & 15)) & 255);
  }
}

gsize
work_picture_make(guint32 seed, guint8 *jpeg)
{
  struct jpeg_compress_struct out = {0};
  struct jpeg_error_mgr errors;
  unsigned char *data = jpeg;
  unsigned long length = WORK_JPEG_MAX;
  guint8 pixels[3 * WIDTH];
  guint32 noise = seed;
  out.err = jpeg_std_error(&errors); /* which ends the process: there is nothing to go wrong */
  jpeg_create_compress(&out);
  begin_output(&out, WIDTH, HEIGHT, 85, &data, &length);
  for (guint y = 0; y < HEIGHT; y++) {
    draw_row(seed, &noise, y, pixels);
    jpeg_write_scanlines(&out, &(JSAMPROW){pixels}, 1);
  }
  jpeg_finish_compress(&out);
  jpeg_destroy_compress(&out);
  if (data != jpeg)
    g_error("a picture is larger than %u bytes", WORK_JPEG_MAX);
  return length;
}
