from found import findings as findings
