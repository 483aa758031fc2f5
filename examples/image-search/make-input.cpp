/* make-input [--size small|medium|large] [--seed N] [--portrait FILE] DIR: makes DIR/pictures, and in
 * DIR/planted.txt where the faces are in them.
 *
 * The pictures are landscapes made of noise, with houses; in most of them a portrait was put in a few times,
 * smaller, larger, turned, brighter, darker. The same size and seed make the same pictures. */
#include <getopt.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

namespace fs = std::filesystem;

namespace
{

struct Size {
  const char *name;
  int pictures, width, height, faces_max;
};

const Size sizes[] = {{"small", 2, 640, 480, 1}, {"medium", 10, 1280, 960, 3}, {"large", 60, 1920, 1440, 5}};

/* Debian's python-matplotlib-data: Grace Hopper by the U.S. Navy, which is in the public domain. In it are
 * her head, */
const char *const portrait_path = "/usr/share/matplotlib/mpl-data/sample_data/grace_hopper.jpg";
const cv::Rect head(120, 15, 290, 350);
/* and in that the face, from the forehead to the chin as cascades have it. */
const cv::Rect2d face_in_head(30, 90, 228, 228);

/* Clouds: noise of every size, the larger the stronger. */
cv::Mat
clouds(cv::RNG &dice, cv::Size size)
{
  cv::Mat sum = cv::Mat::zeros(size, CV_32F);
  for (int cells = 3; cells < size.width; cells *= 2) {
    cv::Mat grid(cells * size.height / size.width + 2, cells + 2, CV_32F), layer;
    dice.fill(grid, cv::RNG::UNIFORM, -1, 1);
    cv::resize(grid, layer, size, 0, 0, cv::INTER_CUBIC);
    sum += layer * (1.5 / cells);
  }
  return sum;
}

/* Sky over hills. */
cv::Mat
landscape(cv::RNG &dice, cv::Size size)
{
  cv::Mat high = clouds(dice, size), fine = clouds(dice, size), picture(size, CV_8UC3);
  int horizon = dice.uniform(size.height / 4, size.height / 2);
  cv::Vec3f sky(230, 190, 140), cloud(245, 240, 235), grass(60, 120, 90), earth(70, 90, 120);
  for (int y = 0; y < size.height; y++)
    for (int x = 0; x < size.width; x++) {
      bool above = y < horizon + 60 * high.at<float>(0, x);
      float mix = std::clamp(high.at<float>(y, x) + 0.5f, 0.f, 1.f);
      cv::Vec3f colour = above ? sky * (1 - mix) + cloud * mix : grass * (1 - mix) + earth * mix;
      picture.at<cv::Vec3b>(y, x) = colour * (above ? 1.f : 1 + fine.at<float>(y, x) * 0.4f);
    }
  return picture;
}

void
build_houses(cv::RNG &dice, cv::Mat &picture)
{
  for (int n = dice.uniform(0, 4); n > 0; n--) {
    int width = dice.uniform(picture.cols / 12, picture.cols / 5),
        height = dice.uniform(width / 2, width * 2);
    int x = dice.uniform(0, picture.cols - width), y = dice.uniform(0, std::max(1, picture.rows - height));
    int blue = dice.uniform(60, 200), green = dice.uniform(60, 200), red = dice.uniform(60, 200);
    cv::Rect house(x, y, width, height);
    cv::Scalar wall(blue, green, red);
    cv::rectangle(picture, house, wall, cv::FILLED);
    int pane = width / 8;
    for (int down = pane; down + pane < height; down += 2 * pane)
      for (int right = pane; right + pane < width; right += 2 * pane)
        cv::rectangle(picture, cv::Rect(x + right, y + down, pane, pane), wall * 0.4, cv::FILLED);
  }
}

/* The head and how much of it is seen at each point, fading out at its edge. */
struct Cutting {
  cv::Mat head, seen;
  cv::Rect face;
};

Cutting
cut_out(cv::RNG &dice, const cv::Mat &portrait, double scale)
{
  cv::Mat mask = cv::Mat::zeros(head.size(), CV_32F), image;
  cv::Point2f middle(head.width / 2.f, head.height / 2.f);
  cv::ellipse(mask, middle, cv::Size(head.width * 45 / 100, head.height * 47 / 100), 0, 0, 360, 1,
              cv::FILLED);
  cv::GaussianBlur(mask, mask, cv::Size(0, 0), 8);
  double contrast = dice.uniform(0.8, 1.15), light = dice.uniform(-15., 25.);
  portrait(head).convertTo(image, CV_32FC3, contrast, light);
  bool mirrored = dice.uniform(0, 2);
  if (mirrored)
    cv::flip(image, image, 1);
  cv::Mat turn = cv::getRotationMatrix2D(middle, dice.uniform(-6., 6.), scale);
  cv::Size size(static_cast<int>(head.width * scale), static_cast<int>(head.height * scale));
  turn.at<double>(0, 2) += size.width / 2. - middle.x;
  turn.at<double>(1, 2) += size.height / 2. - middle.y;
  Cutting cutting;
  cv::warpAffine(image, cutting.head, turn, size, cv::INTER_AREA);
  cv::warpAffine(mask, cutting.seen, turn, size, cv::INTER_LINEAR);
  double left = mirrored ? head.width - face_in_head.x - face_in_head.width : face_in_head.x;
  cutting.face = cv::Rect(cvRound(left * scale), cvRound(face_in_head.y * scale),
                          cvRound(face_in_head.width * scale), cvRound(face_in_head.height * scale));
  return cutting;
}

void
paste(cv::Mat &picture, const Cutting &cutting, cv::Point at)
{
  cv::Mat place = picture(cv::Rect(at, cutting.head.size()));
  for (int y = 0; y < place.rows; y++)
    for (int x = 0; x < place.cols; x++) {
      float seen = cutting.seen.at<float>(y, x);
      cv::Vec3f below = place.at<cv::Vec3b>(y, x);
      place.at<cv::Vec3b>(y, x) = below * (1 - seen) + cutting.head.at<cv::Vec3f>(y, x) * seen;
    }
}

/* Puts so many heads in, none over another where there is room; returns the faces. */
std::vector<cv::Rect>
put_faces(cv::RNG &dice, cv::Mat &picture, const cv::Mat &portrait, int count)
{
  std::vector<cv::Rect> heads, faces;
  for (int tries = 0; tries < 200 && static_cast<int>(faces.size()) < count; tries++) {
    Cutting cutting = cut_out(dice, portrait, dice.uniform(80., picture.rows / 3.) / face_in_head.width);
    if (cutting.head.cols >= picture.cols || cutting.head.rows >= picture.rows)
      continue;
    int x = dice.uniform(0, picture.cols - cutting.head.cols);
    int y = dice.uniform(0, picture.rows - cutting.head.rows);
    cv::Point at(x, y);
    cv::Rect taken(at, cutting.head.size());
    bool free = true;
    for (const cv::Rect &other : heads)
      free = free && (taken & other).empty();
    if (!free)
      continue;
    paste(picture, cutting, at);
    heads.push_back(taken);
    faces.push_back(cutting.face + at);
  }
  return faces;
}

void
develop(cv::RNG &dice, cv::Mat &picture)
{
  cv::Mat grain(picture.size(), CV_16SC3), out;
  cv::GaussianBlur(picture, picture, cv::Size(0, 0), dice.uniform(0.4, 0.9));
  dice.fill(grain, cv::RNG::NORMAL, 0, dice.uniform(1., 5.));
  picture.convertTo(out, CV_16SC3);
  out += grain;
  out.convertTo(picture, CV_8UC3);
}

void
make(const Size &size, unsigned seed, const cv::Mat &portrait, const fs::path &folder)
{
  cv::RNG dice(seed * 1000003ull + size.width);
  fs::create_directories(folder / "pictures");
  std::ofstream planted;
  planted.exceptions(std::ios::failbit | std::ios::badbit);
  planted.open(folder / "planted.txt");
  for (int i = 0; i < size.pictures; i++) {
    cv::Mat picture = landscape(dice, cv::Size(size.width, size.height));
    build_houses(dice, picture);
    int count = i % 5 == 4 ? 0 : dice.uniform(1, size.faces_max + 1);
    std::vector<cv::Rect> faces = put_faces(dice, picture, portrait, count);
    develop(dice, picture);
    std::string name = cv::format("pictures/%03d.%s", i, i % 7 == 3 ? "png" : "jpg");
    if (!cv::imwrite((folder / name).string(), picture, {cv::IMWRITE_JPEG_QUALITY, 92}))
      throw std::runtime_error((folder / name).string() + " cannot be written");
    planted << name << ":";
    for (const cv::Rect &face : faces)
      planted << " " << face.x << "," << face.y << "," << face.width << "x" << face.height;
    planted << "\n";
  }
  planted.close();
}

int
fail(const std::string &why)
{
  std::cerr << "make-input: " << why << "\n";
  return 1;
}

} // namespace

int
main(int argc, char **argv)
{
  const option names[] = {{"size", required_argument, nullptr, 's'},
                          {"seed", required_argument, nullptr, 'r'},
                          {"portrait", required_argument, nullptr, 'p'},
                          {}};
  std::string wanted = "small", portrait_file = portrait_path;
  unsigned seed = 1;
  for (int letter; (letter = getopt_long(argc, argv, "", names, nullptr)) != -1;) {
    if (letter == '?')
      return 2;
    if (letter == 'r')
      seed = static_cast<unsigned>(std::atoi(optarg));
    else
      (letter == 's' ? wanted : portrait_file) = optarg;
  }
  const Size *size =
      std::find_if(std::begin(sizes), std::end(sizes), [&](const Size &s) { return wanted == s.name; });
  if (size == std::end(sizes) || argc != optind + 1)
    return fail("write: make-input [--size small|medium|large] [--seed N] [--portrait FILE] DIR");
  if (fs::exists(argv[optind]))
    return fail(std::string(argv[optind]) + " is there already");
  cv::Mat portrait = cv::imread(portrait_file);
  if (portrait.cols < head.br().x || portrait.rows < head.br().y)
    return fail(portrait_file +
                ": this is not the portrait; it is in Debian's package python-matplotlib-data");
  try {
    make(*size, seed, portrait, argv[optind]);
  } catch (const std::exception &error) {
    return fail(error.what());
  }
  return 0;
}
