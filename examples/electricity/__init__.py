"""How much electricity will Victoria use in each half hour of tomorrow? Demand and temperature of 2014, from readings to forecasts."""
