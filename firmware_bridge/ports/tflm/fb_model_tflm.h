/*! @file
 * A model of VitalEdge on TensorFlow Lite Micro (TFLM): the only file of this port, with its source, that knows TFLM. */
#ifndef FB_MODEL_TFLM_H
#define FB_MODEL_TFLM_H

#include <cstddef>
#include <cstdint>

#include "fb_model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace fb {

/*! What became of a call. */
enum class RunnerStatus {
  kOk,
  kWrongSchema,    /*!< the file is of another version of the format */
  kNoMemory,       /*!< the arena is too small, or an operator is not registered */
  kWrongTensors,   /*!< inputs or output are not those of the card */
  kFailed,         /*!< TFLM could not run the model */
};

/*! How far the golden outputs are from those of this device. */
struct SelfTest {
  RunnerStatus status;
  int largest_gateway_lsb; /*!< steps from the gateway's answers: at most 8 is in order */
  int largest_micro_lsb;   /*!< steps from those of TFLM's own kernels; 0 with the same kernels, -1 if unknown */
};

/*! One model in one arena.  The caller owns all that it is given; one thread at a time. */
class ModelRunner {
 public:
  ModelRunner(const fb_model_t& model, const tflite::MicroOpResolver& resolver, std::uint8_t* arena,
              std::size_t arena_len);

  /*! Lay out the arena and check that the file is the one that the card describes; call once, before Run. */
  RunnerStatus Begin();

  /*! Run one example: inputs in the order of fb_model_t.inputs, output of n_labels. */
  RunnerStatus Run(const std::int8_t* const* inputs, std::int8_t* output);

  /*! Run golden vectors; do so once after start and refuse the model above 8 steps, as the gateway does. */
  SelfTest Check(const fb_model_golden_t* golden, std::size_t n_golden);

  /*! Bytes of the arena in use; known after Begin. */
  std::size_t arena_used_bytes() const { return interpreter_.arena_used_bytes(); }

 private:
  const fb_model_t& model_;
  const tflite::Model* file_;
  tflite::MicroInterpreter interpreter_;
  bool is_ready_ = false;
};

}  // namespace fb

#endif  // FB_MODEL_TFLM_H
