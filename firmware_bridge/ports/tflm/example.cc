/*! @file
 * The rhythm model on a microcontroller: prove it on the golden vectors, then classify windows.
 *
 * `rhythm_model.h` comes from `vitaledge-convert emit-c`, which also writes this file with the names of another model.
 */
#include <cinttypes>
#include <cstdio>

#include "fb_model_tflm.h"
#include "rhythm_model.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace {

/*! As the gateway: further from the golden answers than any two kernels were seen to be. */
constexpr int kMostLsb = 8;

alignas(16) std::uint8_t arena[FB_RHYTHM_ARENA_BYTES];

/*! Print what the model says of one example: inputs as int8, outside as fb_model_outside gives it. */
bool Classify(fb::ModelRunner& runner, const std::int8_t* const* inputs, double outside) {
  const fb_model_t& model = fb_rhythm_model;
  std::int8_t output[FB_MODEL_LABELS_MAX];
  double logits[FB_MODEL_LABELS_MAX];
  if (runner.Run(inputs, output) != fb::RunnerStatus::kOk) {
    return false;
  }
  // With span_s > 0, average the logits of the windows of the last span_s seconds here.
  fb_model_logits(&model, output, logits);
  const fb_model_decision_t found = fb_model_decide(&model, logits, outside);
  const char* label = found.label == FB_MODEL_NO_LABEL ? "cannot tell" : model.labels[found.label];
  std::printf("%s (%s %.0f %%)\n", label, model.labels[found.best], 100.0 * found.probabilities[found.best]);
  return true;
}

}  // namespace

int main() {
  const fb_model_t& model = fb_rhythm_model;
  std::printf("%s %s, release %" PRIu64 ", %zu bytes\n", model.name, model.version, model.release, model.data_len);
  static tflite::MicroMutableOpResolver<FB_RHYTHM_N_OPERATORS> resolver;
  if (!FB_RHYTHM_ADD_OPERATORS(resolver)) {
    std::printf("operators were not taken\n");
    return 1;
  }
  static fb::ModelRunner runner(model, resolver, arena, sizeof arena);
  const fb::RunnerStatus status = runner.Begin();
  if (status != fb::RunnerStatus::kOk) {
    std::printf("not started: status %d\n", static_cast<int>(status));
    return 1;
  }
  const fb::SelfTest test = runner.Check(fb_rhythm_golden, FB_RHYTHM_N_GOLDEN);
  std::printf("golden vectors: %d steps from the gateway, %d from TFLM's own kernels; arena %zu bytes\n",
              test.largest_gateway_lsb, test.largest_micro_lsb, runner.arena_used_bytes());
  if (test.status != fb::RunnerStatus::kOk || test.largest_gateway_lsb > kMostLsb) {
    std::printf("refused: this device computes something else\n");
    return 1;
  }
  for (std::size_t k = 0; k < FB_RHYTHM_N_GOLDEN; k++) {
    if (!Classify(runner, fb_rhythm_golden[k].inputs, 0.0)) {
      return 1;
    }
  }
  return 0;
}
