#include "finder.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <tuple>

#include <opencv2/imgproc.hpp>

static bool
load(cv::CascadeClassifier &classifier, const std::string &path)
{
  try {
    return std::filesystem::is_regular_file(path) && classifier.load(path);
  } catch (const cv::Exception &) {
    return false;
  }
}

FaceFinder::FaceFinder(const Options &wanted) : options(wanted)
{
  if (!load(classifier, options.cascade))
    throw std::runtime_error(
        options.cascade +
        ": this is no cascade; Debian's package opencv-data has some, --cascade=FILE names one");
}

std::vector<cv::Rect>
FaceFinder::find(const cv::Mat &picture)
{
  cv::Mat even;
  std::vector<cv::Rect> faces;
  /* Cascades are trained on pictures whose contrast was evened out. */
  cv::equalizeHist(picture, even);
  classifier.detectMultiScale(even, faces, options.step, options.certainty, 0,
                              cv::Size(options.min_size, options.min_size));
  std::sort(faces.begin(), faces.end(), [](const cv::Rect &a, const cv::Rect &b) {
    return std::tie(a.y, a.x, a.width) < std::tie(b.y, b.x, b.width);
  });
  return faces;
}
