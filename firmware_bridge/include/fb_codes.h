/*! @file
 * The numbers of PROTOCOL.md: packet types (section 2) and codes (section 4).  A test holds them against the host's.
 */
#ifndef FB_CODES_H
#define FB_CODES_H

/*! Packet types; the high bit says that the host speaks. */
#define FB_TYPE_HELLO 0x01u
#define FB_TYPE_SAMPLES 0x02u
#define FB_TYPE_READING 0x03u
#define FB_TYPE_EVENT 0x04u
#define FB_TYPE_TIME_RESPONSE 0x05u
#define FB_TYPE_COMMAND_ACK 0x06u
#define FB_TYPE_TIME_REQUEST 0x81u
#define FB_TYPE_COMMAND 0x82u
#define FB_TYPE_HOST_BIT 0x80u

/*! Kinds of channel. */
#define FB_KIND_OTHER 0u
#define FB_KIND_ECG 1u
#define FB_KIND_PPG 2u
#define FB_KIND_PPG_RED 3u
#define FB_KIND_PPG_INFRARED 4u
#define FB_KIND_RESPIRATION 5u
#define FB_KIND_ACCELERATION_X 6u
#define FB_KIND_ACCELERATION_Y 7u
#define FB_KIND_ACCELERATION_Z 8u

/*! Units of channels. */
#define FB_UNIT_ONE 0u
#define FB_UNIT_MILLIVOLT 1u
#define FB_UNIT_MICROVOLT 2u
#define FB_UNIT_METRE_PER_SECOND_SQUARED 3u
#define FB_UNIT_STANDARD_GRAVITY 4u
#define FB_UNIT_CELSIUS 5u
#define FB_UNIT_PERCENT 6u
#define FB_UNIT_PER_MINUTE 7u
#define FB_UNIT_MILLIMETRE_OF_MERCURY 8u
#define FB_UNIT_OHM 9u
#define FB_UNIT_DEGREE_PER_SECOND 10u
#define FB_UNIT_NANOAMPERE 11u

/*! Measures of readings, ISO/IEEE 11073-10101: partition x 65,536 + code.  Each has one unit, and no other (R17). */
#define FB_MEASURE_HEART_RATE_BPM 147842u
#define FB_MEASURE_PULSE_RATE_BPM 149530u
#define FB_MEASURE_SPO2_PCT 150456u
#define FB_MEASURE_RESPIRATORY_RATE_BPM 151562u
#define FB_MEASURE_BODY_TEMPERATURE_C 150364u
#define FB_MEASURE_SYSTOLIC_MMHG 150021u
#define FB_MEASURE_DIASTOLIC_MMHG 150022u
#define FB_MEASURE_MEAN_PRESSURE_MMHG 150023u

/*! Status of a reading. */
#define FB_READING_VALID 0u
#define FB_READING_QUESTIONABLE 1u
#define FB_READING_INVALID 2u

/*! Why a reading has no value. */
#define FB_ABSENT_NONE 0u /*!< it has one */
#define FB_ABSENT_NOT_MEASURED 1u
#define FB_ABSENT_SENSOR_OFF 2u
#define FB_ABSENT_SIGNAL_POOR 3u
#define FB_ABSENT_OUT_OF_RANGE 4u
#define FB_ABSENT_DEVICE_ERROR 5u
#define FB_ABSENT_MEASURING 6u

/*! Conditions of events. */
#define FB_CONDITION_LEAD_OFF 1u
#define FB_CONDITION_SATURATED 2u
#define FB_CONDITION_BATTERY_LOW 3u
#define FB_CONDITION_SELF_TEST_FAILED 4u
#define FB_CONDITION_DEVICE_ERROR 5u
#define FB_CONDITION_STORAGE_FULL 6u
#define FB_CONDITION_CHARGING 7u
#define FB_CONDITION_SENSOR_OFF 8u

/*! Commands of the host. */
#define FB_COMMAND_IDENTIFY 1u
#define FB_COMMAND_START 2u
#define FB_COMMAND_STOP 3u
#define FB_COMMAND_SET_RATE 4u
#define FB_COMMAND_BACKFILL 5u

/*! Results of commands. */
#define FB_RESULT_DONE 0u
#define FB_RESULT_UNKNOWN_COMMAND 1u
#define FB_RESULT_UNKNOWN_STREAM 2u
#define FB_RESULT_BAD_ARGUMENT 3u
#define FB_RESULT_BUSY 4u
#define FB_RESULT_NOT_SUPPORTED 5u
#define FB_RESULT_FAILED 6u

/*! Stream id of events and commands that concern no single stream. */
#define FB_WHOLE_DEVICE 255u

#endif /* FB_CODES_H */
