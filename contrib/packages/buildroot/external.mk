include $(sort $(wildcard $(BR2_EXTERNAL_P2POOL_PATH)/package/*/*.mk))
